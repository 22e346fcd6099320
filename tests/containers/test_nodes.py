"""Workers in the image on all nodes of a real batch job."""

import json
from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.images import Apptainer
from tests.slurm.cluster import ClusterSpec, NodeSize, slurm
from tests.slurm.spark_jobs import EXECUTOR, spark

pytestmark = [pytest.mark.root, pytest.mark.integration, pytest.mark.timeout(1800)]

LOOK = """import json, os, sys, time
def look(_):
    time.sleep(0.2)
    return os.uname().nodename, sys.prefix, os.environ.get("APPTAINER_NAME"), os.environ["OF_THE_JOB"]
print(json.dumps(sorted(set(sc.parallelize(range(16), 16).map(look).collect()))))"""


def test_workers_on_every_node_run_in_the_image(runtime: Apptainer, jupyter_image: Path) -> None:
    variables = {**images.newest_code(), "PATH": runtime.search, "OF_THE_JOB": "yes", "SPARK_HOME": "/of/a module"}
    exports = " ".join(f"{name}='{value}'" for name, value in variables.items())
    with slurm(ClusterSpec(nodes=(NodeSize(), NodeSize()))) as cluster:
        session = spark(
            cluster,
            f"environment.container={jupyter_image}",
            options=("--exclusive",),
            script=f"export {exports}\nexec {{start}}",
        )
        session.connection()
        with session.notebook(2) as run:
            seen = json.loads(run(LOOK))
        assert seen == [[node, "/opt/ood-runtime", jupyter_image.name, "yes"] for node in cluster.nodes]
        other = next(node for node in cluster.nodes if node != session.job.facts()["BatchHost"])
        # Java, its executors and what mounts the image end with their script, whatever ends it.
        assert session.pids(other, EXECUTOR)
        session.kill(other, "/spark/remote-worker.sh ")
        session.wait_for_workers(*cluster.nodes, within=60)
        session.job.cancel()
        assert session.job.wait() == "CANCELLED"
        session.assert_gone()

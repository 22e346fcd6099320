"""The image on all nodes of a real batch job: its workers alone, and the whole session."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.images import Apptainer
from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.spark_jobs import EXECUTOR, SparkJob, spark

pytestmark = [pytest.mark.root, pytest.mark.integration, pytest.mark.timeout(1800)]

LOOK = """import json, os, sys, time
def look(_):
    time.sleep(0.2)
    return os.uname().nodename, sys.prefix, os.environ.get("APPTAINER_NAME"), os.environ["OF_THE_JOB"]
print(json.dumps(sorted(set(sc.parallelize(range(16), 16).map(look).collect()))))"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with slurm(ClusterSpec(nodes=(NodeSize(), NodeSize()))) as cluster:
        yield cluster


def test_workers_on_every_node_run_in_the_image(cluster: Cluster, runtime: Apptainer, jupyter_image: Path) -> None:
    own = {"PATH": runtime.search, "SPARK_HOME": "/of/a module", **images.newest_code()}
    session = start(cluster, f"environment.container={jupyter_image}", environment=own, script="exec {start}")
    assert_everywhere(session, jupyter_image)
    # Java, its executors and what mounts the image end with their script, whatever ends that.
    other = next(node for node in cluster.nodes if node != session.job.facts()["BatchHost"])
    assert session.pids(other, EXECUTOR)
    session.kill(other, "/spark/remote-worker.sh ")
    session.wait_for_workers(*cluster.nodes, within=60)
    end(session)


def test_a_session_wholly_inside_calls_the_scheduler(cluster: Cluster, runtime: Apptainer, jupyter_image: Path) -> None:
    # Of these the newest code is under its name nowhere but inside; workers do without.
    binds = [*images.OF_SLURM, "/run/munge", *images.newest_code().values()]
    own = {
        "PATH": runtime.search,
        "APPTAINER_BINDPATH": ",".join(binds),
        "APPTAINERENV_APPEND_PATH": str(runtime.program.parent),  # where it is not in /usr/bin
    }
    inside = 'set -- {start}\nwhile [ "$1" != start ]; do shift; done\nshift\n'
    inside += f'exec apptainer run {jupyter_image} "$@"'
    session = start(cluster, environment=own, script=inside)
    assert_everywhere(session, jupyter_image)
    end(session)


def start(cluster: Cluster, *settings: str, environment: Mapping[str, str], script: str) -> SparkJob:
    variables = {"OF_THE_JOB": "yes", **environment}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    return spark(cluster, *settings, options=("--exclusive",), script=exports + script)


def assert_everywhere(session: SparkJob, image: Path) -> None:
    """Executors on every node have the Python of the image, and the variables of the job."""
    session.connection()
    with session.notebook(2) as run:
        seen = json.loads(run(LOOK))
    assert seen == [[node, "/opt/ood-runtime", image.name, "yes"] for node in session.cluster.nodes], session.logs()


def end(session: SparkJob) -> None:
    session.job.cancel()
    assert session.job.wait() == "CANCELLED"
    session.assert_gone()

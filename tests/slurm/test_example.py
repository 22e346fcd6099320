"""The job script of examples/jobs for Slurm, run as it is by a real Slurm."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.slurm.cluster import ClusterSpec, NodeSize, slurm
from tests.slurm.jobs import submit
from tests.slurm.sessions import REPOSITORY, JobSession
from tests.support.accounts import user_of_tests
from tests.support.jupyter import log_in

pytestmark = [pytest.mark.root, pytest.mark.integration]

# The example asks for 4 processors and 16 GB on two nodes; the machine beneath has less.
NODES = (NodeSize(cpus=4, memory=20000),) * 2
SMALL = {
    "driver": {"memory": "512m"},
    "worker": {"memory": "1g"},
    "class_data": "use",
    "wait_for_workers": "all",
}
NAMES = """
import os, time
deadline = time.time() + 90
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    assert time.time() < deadline, "no executor on each node"
    time.sleep(0.1)
print(*sorted(set(sc.parallelize(range(16), 16).map(lambda _: (time.sleep(0.2), os.uname().nodename)[1]).collect())))
"""


def environment(place: Path) -> str:
    """What a user's login sets: a home directory, and ``ood-runtime`` on PATH, as sbatch --export has it."""
    user = user_of_tests()
    (place / "bin").mkdir(parents=True)
    program = place / "bin" / "ood-runtime"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m ood_runtime "$@"\n')
    program.chmod(0o755)
    (place / "config.yml").write_text(yaml.safe_dump({"spark": SMALL}))
    os.chown(place, user.uid, user.gid)
    values = {
        "HOME": str(place),
        "PATH": f"{place}/bin:/usr/bin:/bin",
        "OOD_RUNTIME_SITE_CONFIG": f"{place}/config.yml",
        "XDG_CACHE_HOME": str(user.home / ".cache" / "ood-runtime-tests"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return ",".join(f"{name}={value}" for name, value in values.items())


def test_a_session_on_two_nodes() -> None:
    with slurm(ClusterSpec(NODES)) as cluster:
        home = cluster.directory / "home"
        script = (REPOSITORY / "examples" / "jobs" / "slurm.sh").read_text()
        job = submit(cluster, script, export=environment(home))
        session = JobSession(job, home / f"jupyter-spark-{job.id}")
        connection = session.connection()
        assert job.nodes() == cluster.nodes
        workers = session.status()["workers"]
        assert (workers["ready"], workers["wanted"]) == (2, 2)
        with cluster.network():
            client = log_in(connection)
            assert client.run(client.start_kernel("pyspark"), NAMES).split() == list(cluster.nodes)
            client.close()
        job.cancel()
        assert job.wait() == "CANCELLED"
        session.assert_gone()

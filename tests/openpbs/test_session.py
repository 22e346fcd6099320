"""The job script of examples/jobs on two nodes of a real OpenPBS, as it is: a whole session, and each of its ends."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.openpbs.cluster import Cluster, Job, openpbs, submit
from tests.support.accounts import user_of_tests
from tests.support.example_session import EXAMPLES, Seen, assert_whole, connection_text, seen, site
from tests.support.running import READY_WITHIN, files_below

pytestmark = [pytest.mark.root, pytest.mark.integration]

# What OpenPBS has in Exit_status: 256 and SIGTERM, and JOB_EXEC_KILL_WALLTIME of its job.h.
DELETED, OUT_OF_TIME = 256 + signal.SIGTERM, -29
MODULE = "# ood-runtime must be on PATH: load the site's module here."
SIZED: dict[str, object] = {"worker": {}, "executor": {"cores": 1, "memory": "512m"}}


@pytest.fixture(scope="module")
def cluster_of_module() -> Iterator[Cluster]:
    with openpbs() as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_module: Cluster) -> Iterator[Cluster]:
    """Two free nodes; after the test its jobs are ended, and nothing may be left on any node."""
    yield cluster_of_module
    left = cluster_of_module.left()
    cluster_of_module.end_all_jobs()
    for node in cluster_of_module.nodes:  # what a session that was killed has left
        cluster_of_module.machines.check(["sh", "-c", "rm -rf /tmp/* /var/tmp/*"], on=node)
    for directory in user_of_tests().home.glob("jupyter-spark-*.head"):
        shutil.rmtree(directory)
    assert not left


def example(cluster: Cluster, *options: str, settings: dict[str, object] | None = None, start: str = "") -> Job:
    """The example in a job with ``options``, where the site's module is loaded; nothing is handed on to it.

    ``start`` is what is there in the place of its last line.
    """
    script = (EXAMPLES / "pbs.sh").read_text()
    module = "".join(
        f"export {name}={_quoted(value)}\n" for name, value in site(cluster.machines, settings or {}).items()
    )
    assert MODULE in script
    script = script.replace(MODULE, f"{module}{MODULE}")
    if start:
        script = script.rstrip().replace("exec ood-runtime", "ood-runtime") + start
    return submit(cluster, script, *options)


def ready(job: Job) -> Seen:
    """The job's session, as soon as it is ready."""
    directory = user_of_tests().home / f"jupyter-spark-{job.id}"
    text = job.wait_for(lambda: connection_text(directory), "session", READY_WITHIN)
    return seen(job.cluster.machines, directory, text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def assert_told_nobody(job: Job, session: Seen) -> None:
    """No secret in what OpenPBS shows of the job, nor in what its daemons keep and log, nor in the output."""
    machines = job.cluster.machines
    places = [machines.path(name, Path("/run/pbs")) for name in machines.by_name]
    kept = [path.read_bytes().decode(errors="replace") for place in places for path in files_below(place)]
    assert any(job.id in text for text in kept)
    assert not [secret for secret in session.secrets for text in (job.shown(), job.output(), *kept) if secret in text]


def test_a_session_that_is_deleted(cluster: Cluster) -> None:
    job = example(cluster)
    session = ready(job)
    assert_whole(session, user_of_tests().home, 0o077)
    assert_told_nobody(job, session)
    job.delete()
    assert job.wait() == DELETED
    session.assert_gone()
    assert session.status["state"] == "ended"


def test_the_end_of_the_walltime(cluster: Cluster) -> None:
    """And unequal nodes: a worker has what the job was given where it runs."""
    unequal = "select=1:ncpus=2:mem=4gb+1:ncpus=1:mem=2gb"
    job = example(cluster, "-l", unequal, settings=SIZED)
    session = ready(job)
    workers = sorted(session.directory.glob("logs/spark-worker-*.log"))
    assert "starting with 1 cores and 1075 MiB" in workers[1].read_text()  # 70 % of 2048 - 512
    cluster.run("qalter", "-l", "walltime=0:0:1", job.id)
    assert job.wait() == OUT_OF_TIME
    session.assert_gone()
    assert session.status["state"] == "ended"


def test_the_end_of_the_script(cluster: Cluster) -> None:
    """Everything is killed at once, and nothing is asked before."""
    place = '"$HOME/jupyter-spark-$PBS_JOBID"'
    job = example(cluster, start=f" &\nuntil [ -e {place}/go ]; do sleep 0.1; done\nexit 7\n")
    session = ready(job)
    (session.directory / "go").touch()
    assert job.wait() == 7
    session.assert_gone(killed=True)


def test_a_deletion_by_force(cluster: Cluster) -> None:
    job = example(cluster)
    session = ready(job)
    job.delete("-W", "force")
    job.wait()
    session.assert_gone(killed=True)

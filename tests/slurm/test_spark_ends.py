"""How a Spark session on several nodes of a real batch job ends, or goes on: nothing of it may be left on any node."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psutil
import pytest

from tests.slurm.cluster import NOTICES_SOON, Cluster, ClusterSpec, NodeSize, Tracking, slurm
from tests.slurm.sessions import REPOSITORY
from tests.slurm.spark_jobs import MASTER, NODES, SRUN, WORKER, WORKER_SCRIPT, SparkJob, soon, spark

pytestmark = [pytest.mark.root, pytest.mark.integration]

BACK_WITHIN = 15.0  # seconds until a killed worker is there again: a JVM's start on a busy machine
WALLTIME_WITHIN = 100.0  # seconds; slurmctld looks every 30 s
LOST_WITHIN = 60.0  # seconds until a node is told to be lost for good
ALONE_WITHIN = 100.0  # seconds that a worker's script stays without a master: 60, and up to 18 between two looks
# A worker's script that was killed is missed within 18 s.
MISSED_WITHIN = 30.0
# With cgroups Slurm kills srun at once when the job's script has ended, and srun's helper may then have its tasks
# killed, with no time to clear up.
NO_SRUN = ("node02",)
LARGE = (NodeSize(8, 12000),) * 3  # for three jobs at the same time


@pytest.fixture(scope="module")
def cluster_of_module(tracking: Tracking) -> Iterator[Cluster]:
    """Three nodes with room for three sessions."""
    with slurm(ClusterSpec(nodes=LARGE, tracking=tracking)) as cluster:
        yield cluster


def stop(session: SparkJob) -> None:
    """`ood-runtime stop` on the first node, which also clears up after a session that was killed."""
    argv = [sys.executable, "-m", "ood_runtime", "stop", "--session-dir", str(session.session.directory)]
    done = session.cluster.machines.run(
        argv,
        on=str(session.job.facts()["BatchHost"]),
        user=session.job.user,
        env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0 and done.stdout.endswith("the session is over\n"), done


def test_what_is_killed_comes_back_and_stop_ends_it(cluster: Cluster, tracking: Tracking) -> None:
    """A worker's JVM, the master while an application runs, a worker's script; then `ood-runtime stop`."""
    # Else the executors of a lost worker find room on other nodes, and stay there.
    session = spark(cluster, "spark.shares=1", nodes=3)
    session.connection()
    with session.notebook(3) as run:
        before = session.alive()
        session.kill("node02", WORKER)
        soon(
            lambda: session.alive().get("node02", {}).get("id") not in (None, before["node02"]["id"]),
            "new worker",
            BACK_WITHIN,
        )
        session.wait_for_workers("node01", "node02", "node03")
        run("kept = sc.parallelize(range(30), 6).cache(); kept.count()")
        session.kill("node01", MASTER)
        soon(lambda: session.service("spark-master")["restarts"] == 1, "restart of the master")
        session.wait_for_workers("node01", "node02", "node03")
        assert run("sc.applicationId, kept.sum()") == run("sc.applicationId, 435")
        session.kill("node03", WORKER_SCRIPT)
        soon(lambda: not session.cluster.left().get("node03"), "end of what the script had started", MISSED_WITHIN)
        session.wait_for_workers("node01", "node02")
        assert run(NODES.format(tasks=12)) == "node01 node02"
    soon(lambda: "lost node03" in session.service("spark-cluster")["detail"], "word of the lost worker")
    assert session.session.status()["state"] == "ready"
    stop(session)
    session.job.wait()
    # With cgroups Slurm kills at once what a task leaves on its node.
    session.assert_gone(spared=("node03",) if tracking == "cgroup" else ())


def test_walltime_and_the_end_of_the_script(cluster: Cluster, tracking: Tracking) -> None:
    """With a signal ahead of the walltime, and without; and a script that ends before its session."""
    told, untold = spark(cluster, options=("--signal=B:TERM@30",)), spark(cluster)
    leaves = spark(cluster, script="{start} &\nuntil [ -e leave ]; do sleep 0.1; done")
    for session in (told, untold, leaves):
        session.connection()
    for session in (told, untold):
        session.job.end_at_walltime()
    (leaves.job.directory / "leave").touch()
    assert leaves.job.wait() == "COMPLETED"
    for session in (told, untold):
        session.job.wait(WALLTIME_WITHIN)
    assert untold.job.state() == "TIMEOUT"
    for session in (told, untold):
        session.session.assert_gone()
    # With cgroups Slurm kills at once what such a script leaves on its own node.
    leaves.assert_gone(killed=True, spared=("node01", *NO_SRUN) if tracking == "cgroup" else ())


@pytest.mark.parametrize("options", [("--full", "--signal=TERM"), ()], ids=["term", "scancel"])
def test_scancel(cluster: Cluster, options: tuple[str, ...]) -> None:
    session = spark(cluster)
    session.connection()
    session.job.cancel(*options)
    session.job.wait()
    session.assert_gone()


def test_the_supervisor_is_killed(cluster: Cluster) -> None:
    session = spark(cluster)
    session.connection()
    os.kill(session.keeper()[1], signal.SIGKILL)
    assert session.job.wait() == "FAILED"
    session.assert_gone()
    assert session.session.status()["state"] == "failed"


@pytest.mark.parametrize("both", [False, True], ids=["guard", "guard-and-supervisor"])
def test_the_guard_is_killed(cluster: Cluster, tracking: Tracking, both: bool) -> None:
    """What is on the first node's disk then, the next command in the session's directory takes away."""
    session = spark(cluster)
    session.connection()
    for pid in session.keeper() if both else session.keeper()[:1]:
        with suppress(ProcessLookupError):  # with cgroups Slurm may be faster
            os.kill(pid, signal.SIGKILL)
    session.job.wait()
    # With cgroups Slurm kills the supervisor at once, since the guard is the job's script.
    killed = both or tracking == "cgroup"
    spared = NO_SRUN if tracking == "cgroup" else ()
    session.assert_gone(killed=killed, spared=("node01", *spared) if killed else ())
    stop(session)
    session.assert_gone()


def test_srun_is_killed(cluster: Cluster) -> None:
    """It is started again, and its workers are back; what the first ones left is gone before the session ends."""
    session = spark(cluster)
    session.connection()
    before = session.alive()["node02"]["id"]
    session.kill("node01", SRUN)
    began = time.monotonic()
    soon(lambda: session.alive().get("node02", {}).get("id") not in (None, before), "new worker", BACK_WITHIN)
    print(f"back after {time.monotonic() - began:.1f} s")
    launcher = session.service("spark-workers")
    assert (launcher["restarts"], launcher["state"]) == (1, "running")
    assert '"state": "restarting"' in (session.session.directory / "events.jsonl").read_text()
    assert session.session.status()["state"] == "ready"
    session.job.cancel()
    session.job.wait()
    session.assert_gone()


def test_the_first_node_is_set_down(cluster: Cluster) -> None:
    """By an administrator: without --no-kill the job is over, and Slurm says so to all that runs."""
    session = spark(cluster)
    session.connection()
    cluster.administer("scontrol", "update", "NodeName=node01", "State=DOWN", "Reason=test")
    assert session.job.wait() == "NODE_FAIL"
    session.assert_gone()
    cluster.wait_for_state("node01", "idle")  # it says that it is there: ReturnToService


def test_slurm_is_killed_on_the_first_node(tracking: Tracking) -> None:
    """Nobody ends the session then, and it ends by itself."""
    with slurm(ClusterSpec(tracking=tracking)) as cluster:
        session = spark(cluster)
        session.connection()
        init = psutil.Process(cluster.machines.by_name["node01"].init)
        for process in init.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it ended with the one that was killed before
                if process.name() in ("slurmd", "slurmstepd"):
                    process.kill()
        session.assert_gone()
        assert session.session.status()["message"] == "ended: slurmstepd, which kept the job, has ended"


def test_nodes_are_lost() -> None:
    """One without which the session goes on, by its cable or its power; then the first one, without which nothing can.

    Whom Slurm cannot reach any more ends by itself. Two clusters, of either tracking, wait for it at the same time.
    """
    with ExitStack() as stack:
        sessions = [stack.enter_context(_session_that_may_lose_nodes(tracking)) for tracking in ("linuxproc", "cgroup")]
        runs = [stack.enter_context(session.notebook(3)) for session in sessions]
        cut, off = (session.cluster.machines for session in sessions)
        cut.cut("node02")
        off.off("node02")
        for session, run in zip(sessions, runs, strict=True):
            session.wait_for_workers("node01", "node03")
            assert run(NODES.format(tasks=12)) == "node01 node03"
            session.cluster.wait_for_state("node02", "down*")
            assert session.job.state() == "RUNNING"
            assert run("sc.parallelize(range(10)).sum()") == "45"
            soon(partial(_says_what_is_lost, session), "word of the lost node", LOST_WITHIN)
            assert session.session.status()["state"] == "ready"
        for session in sessions:
            session.cluster.machines.off("node01")
        for session in sessions:
            soon(partial(_is_empty, session.cluster), "end of the workers elsewhere", ALONE_WITHIN)
            assert not session.session.remains()
            # Slurm takes --no-kill at its word: the job holds its last node until somebody ends it.
            assert session.job.state() == "RUNNING"
        assert "has not answered for 60 s" in (sessions[0].session.directory / "logs/spark-worker-1.log").read_text()


def _says_what_is_lost(session: SparkJob) -> bool:
    told = "node02 is lost" in str(session.session.status()["notices"])
    return told and "lost node02" in session.service("spark-cluster")["detail"]


def _is_empty(cluster: Cluster) -> bool:
    return not cluster.left()


@contextmanager
def _session_that_may_lose_nodes(tracking: Tracking) -> Iterator[SparkJob]:
    # A node that was cut off says nothing more, not even that its connections are closed.
    quick = 'spark.conf={"spark.worker.timeout": "15"}'
    with slurm(ClusterSpec(tracking=tracking, settings=NOTICES_SOON)) as cluster:
        session = spark(cluster, quick, nodes=3, options=("--no-kill",))
        session.connection()
        yield session

"""The Grid Engine of the tests itself, and what `qrsh -inherit` does, which the launcher builds on."""

import json
from collections.abc import Iterator

import pytest

from tests.gridengine.cluster import Cluster, gridengine, submit
from tests.support.accounts import user_of_tests

pytestmark = [pytest.mark.root, pytest.mark.integration]

# What a task sees that `qrsh -inherit` started.
TELL = """#!/usr/bin/python3
import json, os, socket, sys
print(json.dumps([sys.argv[1:], socket.gethostname(), os.getcwd(), os.getuid(), dict(os.environ)]))
sys.exit(7)
"""
UNTIL_GO = "until [ -e go ]; do sleep 0.1; done"


@pytest.fixture(scope="module")
def cluster_of_module() -> Iterator[Cluster]:
    with gridengine() as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_module: Cluster) -> Iterator[Cluster]:
    """Two nodes, free; after the test its jobs are ended, and nothing may be left on any node."""
    yield cluster_of_module
    left = not cluster_of_module.jobs() and cluster_of_module.left()
    cluster_of_module.end_all_jobs()
    assert not left


def test_a_task_on_each_node(cluster: Cluster) -> None:
    tell = cluster.directory / "tell.py"
    tell.write_text(TELL)
    tell.chmod(0o755)
    inherit = f"OWN=mine qrsh -inherit -nostdin node02 {tell} 3 'a b' '\"c d\"'; echo status $?"
    job = submit(cluster, f"cat $PE_HOSTFILE; echo $JOB_ID $NSLOTS $NHOSTS $(hostname) $PWD; {inherit}")
    job.wait()
    first, second, about, told, status = job.output().splitlines()
    assert [line.split()[:2] for line in (first, second)] == [["node01", "2"], ["node02", "2"]]
    assert about == f"{job.id} 4 2 node01 {job.directory}"
    arguments, host, directory, uid, environment = json.loads(told)
    # What it is given is put together, and read by the user's login shell on the node.
    assert arguments == ["3", "a", "b", "c d"]
    assert (host, directory) == ("node02", str(job.directory))
    assert uid == user_of_tests().uid
    # The task is of the job, and has nothing else of who called.
    assert environment["JOB_ID"] == job.id and "OWN" not in environment
    assert status == "status 7"


@pytest.mark.parametrize("end", ["qdel", "script"])
def test_the_end_of_a_job_is_the_end_of_its_tasks(cluster: Cluster, end: str) -> None:
    job = submit(cluster, f"qrsh -inherit -nostdin node02 sleep 299 &\n{UNTIL_GO}")
    job.wait_for(lambda: _sleeping(cluster) == 1 or None, "task")
    if end == "qdel":
        job.cancel()
    else:
        (job.directory / "go").touch()
    job.wait()
    cluster.machines.until(lambda: not cluster.left(), "end of the task", 30)


def test_what_leaves_its_process_group_stays(cluster: Cluster) -> None:
    """As long as no administrator has set ENABLE_ADDGRP_KILL, nobody but ourselves ends such a process."""
    leaves = f'setsid sh -c "touch go; exec sleep 299" >/dev/null 2>&1 & {UNTIL_GO}'
    job = submit(cluster, f"qrsh -inherit -nostdin node02 '{leaves}'")
    job.wait()
    assert _sleeping(cluster) == 1
    cluster.end_all_jobs()


def test_the_end_of_the_call_is_the_end_of_its_task(cluster: Cluster) -> None:
    job = submit(cluster, f"qrsh -inherit -nostdin node02 sleep 299 &\n{UNTIL_GO}\nkill $!; wait; sleep 299")
    job.wait_for(lambda: _sleeping(cluster) == 1 or None, "task")
    (job.directory / "go").touch()
    job.wait_for(lambda: _sleeping(cluster) == 0 or None, "end of the task", 10)


@pytest.mark.parametrize(("options", "heard"), [((), []), (("-notify",), ["USR2"])], ids=["kill", "notify"])
def test_what_a_job_hears_of_its_deletion(cluster: Cluster, options: tuple[str, ...], heard: list[str]) -> None:
    signals = ("TERM", "INT", "HUP", "USR1", "USR2")
    traps = " ".join(f"trap 'echo {name}; exit' {name};" for name in signals)
    job = submit(cluster, f"{traps} echo up\nwhile :; do sleep 0.1; done", *options)
    job.wait_for(lambda: "up" in job.output() or None, "script")
    job.cancel()
    job.wait()
    assert {line for line in job.output().splitlines() if line in signals} == set(heard)


def test_walltime(cluster: Cluster) -> None:
    job = submit(cluster, "qrsh -inherit -nostdin node02 sleep 299 & sleep 299", "-l", "h_rt=0:0:5")
    job.wait_for(lambda: _sleeping(cluster) == 1 or None, "task")
    job.wait()
    cluster.machines.until(lambda: not cluster.left(), "end of the task", 30)


def _sleeping(cluster: Cluster) -> int:
    """How many tasks run on the second node."""
    return sum(line == "sleep 299" for line in cluster.left().get("node02", {}).values())

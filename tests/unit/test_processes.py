"""Processes: which belong to a session, and that every one of them can be ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from ood_runtime import kernel, processes
from tests.unit.calls import InChild, WaitUntil

# Two children, one of which has left its session, and both ignore SIGTERM.
FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        break
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    env = {processes.MARK: "an-id", "PATH": os.environ["PATH"]}
    with subprocess.Popen(["sleep", "60"], env=env, start_new_session=True) as process:
        yield process
        process.kill()


def test_the_nearest_ancestor_of_a_name() -> None:
    parent = psutil.Process().parent()
    assert parent and processes.ancestor(parent.name()) == parent.pid
    assert processes.ancestor("no such program") is None


def test_a_tree_and_its_root() -> None:
    def count() -> int:
        return len(processes.tree(family.pid))

    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as family:
        assert family.stdout
        for _ in range(3):
            family.stdout.readline()
        found = processes.tree(family.pid)
        assert found[0] == family.pid
        assert count() == 3
        processes.send(found, signal.SIGKILL)
    assert processes.tree(family.pid) == []


def test_marked_finds_what_carries_the_identifier(sleeper: subprocess.Popen[bytes], wait_until: WaitUntil) -> None:
    wait_until(lambda: processes.marked("an-id") == [sleeper.pid])
    assert processes.marked("an-i") == []
    assert processes.marked("") == []
    sleeper.kill()
    assert wait_until(lambda: processes.marked("an-id") == []), "a zombie is not alive"


def test_end_takes_descendants_that_left_and_those_that_ignore(in_child: InChild) -> None:
    def scenario() -> tuple[int, list[int], list[int]]:
        kernel.adopt_orphans()
        with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as family:
            assert family.stdout
            for _ in range(3):
                family.stdout.readline()
            count = len(processes.descendants())
            os.kill(family.pid, signal.SIGKILL)  # its children become ours
            left = processes.end(processes.descendants, seconds=5)
            family.returncode = 0
        return count, left, processes.descendants()

    assert in_child(scenario) == (3, [], [])


def test_end_tells_what_it_could_not_end() -> None:
    began = time.monotonic()
    assert processes.end(lambda: [os.getppid()], seconds=-1) == [os.getppid()]
    assert processes.end(list, seconds=5) == []
    assert time.monotonic() - began < 1


def test_reap_gives_exit_statuses_and_signals(in_child: InChild, wait_until: WaitUntil) -> None:
    def scenario() -> dict[str, int]:
        pids = {}
        for command in ("exit 7", "kill -9 $$", "exit 0"):
            pids[subprocess.Popen(["sh", "-c", command]).pid] = command
        ended: dict[int, int] = {}
        wait_until(lambda: (ended.update(processes.reap()), len(ended) == 3)[1])
        assert processes.reap() == {}
        return {pids[pid]: status for pid, status in ended.items()}

    assert in_child(scenario) == {"exit 7": 7, "kill -9 $$": -9, "exit 0": 0}


def test_signals_to_those_that_are_gone_are_no_error() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as gone:
        pass
    processes.send([gone.pid], signal.SIGTERM)
    processes.send_group(gone.pid, signal.SIGTERM)


def test_when_a_process_started_names_it_for_good(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.started_at(sleeper.pid) == processes.started_at(sleeper.pid)
    mine = processes.started_at(os.getpid())
    theirs = processes.started_at(sleeper.pid)
    assert mine
    assert theirs
    assert mine < theirs
    assert processes.started_at(2**22 + 1) is None


def test_a_child_ends_with_its_parent(in_child: InChild, wait_until: WaitUntil) -> None:
    def scenario() -> bool:
        kernel.adopt_orphans()
        read_end, write_end = os.pipe()
        parent = os.fork()
        if parent == 0:
            if os.fork() == 0:
                kernel.die_with_parent(signal.SIGKILL)
                os.write(write_end, str(os.getpid()).encode())
                time.sleep(60)
            time.sleep(60)
        child = int(os.read(read_end, 20))
        os.kill(parent, signal.SIGKILL)
        return bool(wait_until(lambda: processes.reap().get(child) == -9))

    assert in_child(scenario)

"""The script of a worker on another node, when its launcher has been killed and started again."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from ood_runtime import processes
from tests.support.remote_workers import Master, Workers, looking_often

pytestmark = pytest.mark.integration


def test_the_next_one_clears_what_was_killed_at_once(workers: Workers, master: Master) -> None:
    """As a control group is: nobody is left who could clear up."""
    workers.write("family")
    master.open()
    workers.start(2)
    first = workers.start()
    before, others = workers.begun(), set(processes.tree(workers.running[2].pid))
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none of them sees another one's end
        for pid in [first.pid, *(pid for pid in processes.marked(workers.session) if pid not in others)]:
            with suppress(ProcessLookupError):  # a sleep of the script's
                os.kill(pid, number)
    first.wait()
    assert Path(before["cwd"]).exists()
    workers.start()
    assert workers.begun(times=2)["cwd"] != before["cwd"]
    assert not Path(before["cwd"]).exists()
    assert len(list(workers.disk.iterdir())) == 2
    assert workers.running[2].poll() is None and len(workers.started(2)) == 1


def test_the_next_one_takes_over_from_one_that_still_runs(workers: Workers, master: Master) -> None:
    workers.write("family")
    master.open()
    first = workers.start()
    before = workers.begun()
    workers.start()
    after = workers.begun(times=2)
    assert first.wait(5) == 143
    assert not workers.runs(before["pid"]) and workers.runs(after["pid"])
    assert [str(path) for path in workers.disk.iterdir()] == [after["cwd"]]


def test_the_next_one_does_not_try_again_what_was_given_up(workers: Workers, master: Master) -> None:
    workers.write("9", restarts=0)
    master.open()
    assert workers.start().wait(10) == 9
    assert workers.start().wait(10) == 1
    assert "it has failed before" in workers.log()
    assert len(workers.started()) == 1
    assert workers.record()[1:] == ["failed", workers.record()[2]]


def test_the_next_one_withdraws_the_record_of_trouble_that_is_over(workers: Workers, master: Master) -> None:
    workers.write(change=looking_often)
    master.open()
    (workers.trouble / "1").write_text("node\nrestarting\nSpark ended\n")
    workers.start()
    workers.wait(lambda: not workers.record())

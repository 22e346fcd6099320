"""How a warm driver is kept and handed over: with cat(1) in Java's place, which also ends when its input does."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ood_runtime.render import render
from tests.unit.test_jupyter_templates import load

WITHIN = 20.0  # seconds


def until(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def loaded(path: Path, values: dict[str, object]) -> Any:
    return load(path, "pyspark_startup.py.j2", **values)


class Keeper:
    """The program that keeps a driver warm, and the same file as a kernel has it."""

    def __init__(self, place: Path) -> None:
        self.socket, self.notes = place / "socket", list[str]()
        values: dict[str, object] = {
            "java": ["cat"],
            "warm": str(self.socket),
            "log_dir": str(place),
            "drivers_dir": str(place),
        }
        program = place / "startup.py"
        program.write_text(render("pyspark_startup.py.j2", **values))
        self.kernel = loaded(place / "kernel.py", values)
        # pytest's own changes from one phase of a test to the next.
        self.kernel.HARMLESS = re.compile(f"{self.kernel.HARMLESS.pattern}|PYTEST_CURRENT_TEST")
        self.process = subprocess.Popen([sys.executable, program, "--warm", "gateway"])
        until(self.socket.exists)

    def find(self) -> Any:
        """What a kernel gets that wants the driver: a connection, or None and a note."""
        return self.kernel.find_keeper(self.notes.append)

    def java(self) -> psutil.Process:
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def gone(self) -> bool:
        return self.process.wait(WITHIN) is not None and not self.socket.exists()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.process.kill()
    keeper.process.wait()


def test_one_of_two_kernels_gets_it_and_holds_its_life(keeper: Keeper) -> None:
    os.kill(keeper.process.pid, signal.SIGSTOP)  # so that both come at the same moment
    java, first = keeper.java(), keeper.find()
    assert first is not None
    assert keeper.find() is None
    assert "Resource temporarily unavailable" in keeper.notes[0]
    os.kill(keeper.process.pid, signal.SIGCONT)
    with first:
        facts, files = keeper.kernel.receive(first)
    assert (facts["pid"], facts["context"], facts["port"]) == (java.pid, False, None)
    assert keeper.gone() and keeper.process.returncode == 0
    assert keeper.find() is None and "No such file" in keeper.notes[1]
    adopted = keeper.kernel.Adopted(facts["pid"], *files)
    assert adopted.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        adopted.wait(0.05)
    assert os.getsid(java.pid) == java.pid != os.getsid(0)  # what ends the keeper's group does not end it
    adopted.stdin.close()
    adopted.wait(WITHIN)
    assert adopted.returncode == "unknown"
    adopted.stdout.close()


@pytest.mark.parametrize("said", [b"", b"take"])
def test_who_comes_and_goes(keeper: Keeper, said: bytes) -> None:
    """Without a word it leaves the driver to others; who wants it, and dies, takes it along."""
    os.kill(keeper.process.pid, signal.SIGSTOP)
    java = keeper.java()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as visitor:
        visitor.connect(str(keeper.socket))
        if said:
            visitor.send(said)
    os.kill(keeper.process.pid, signal.SIGCONT)
    if said:
        assert keeper.gone()
        until(lambda: has_ended(java))
    else:
        until(lambda: (found := keeper.find()) and found.close() is None)


def test_a_kernel_with_other_variables_does_not_take_it(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/a.ipynb")
    monkeypatch.setenv("HADOOP_CONF_DIR", "/etc/other")
    assert keeper.find() is None
    assert keeper.notes[0].endswith("this kernel has other variables: HADOOP_CONF_DIR")
    monkeypatch.delenv("HADOOP_CONF_DIR")
    until(lambda: (found := keeper.find()) and found.close() is None)


def test_java_that_dies_is_not_offered(keeper: Keeper, tmp_path: Path) -> None:
    keeper.java().kill()
    assert keeper.gone() and keeper.process.returncode == 1
    assert "has ended before a notebook took it: status -9" in next(tmp_path.glob("*.log")).read_text()
    assert keeper.find() is None


def test_a_killed_keeper_leaves_nothing(keeper: Keeper) -> None:
    java = keeper.java()
    keeper.process.kill()
    until(lambda: has_ended(java))
    assert keeper.find() is None and "refused" in keeper.notes[0]


def test_a_driver_that_does_not_start_or_answer_is_too_slow(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel starts its own, for which it has no limit; here that is cat again."""
    monkeypatch.setattr(keeper.kernel, "WARM_PATIENCE", 0.2)
    driver = keeper.kernel.Driver()
    driver.begin()
    assert not driver.process
    monkeypatch.setattr(driver, "connect", lambda: "its own")
    assert driver.gateway() == "its own"
    notes = next(Path(driver.log).parent.glob(f"*-{keeper.process.pid}.log")).read_text()
    assert "is no use, a new one starts: RuntimeError: the driver's Java did not start within 0 seconds" in notes
    driver.end()
    driver.process.stdout.close()
    with socket.socket() as silent:  # a Java that is stopped still accepts connections
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setattr(keeper.kernel, "ANSWER_SECONDS", 0.2)
        with pytest.raises(TimeoutError):
            keeper.kernel.ask(silent.getsockname()[1], "secret")

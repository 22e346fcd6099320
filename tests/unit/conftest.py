"""Fixtures of the unit tests: a clean environment, a child that plays the supervisor, the command line."""

import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import hypothesis
import pytest

from ood_runtime import supervisor
from ood_runtime.allocation import Allocation, Node
from ood_runtime.plan import Directories, Place
from ood_runtime.settings.sizes import GIB
from tests.unit.calls import REPOSITORY, InChild, RunCli, Spawn, WaitUntil
from tests.unit.scene import Scene
from tests.unit.settings_files import Files

# Nothing is kept between runs, and a busy machine is no failure.
hypothesis.settings.register_profile("unit", database=None, deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.load_profile("unit")

_PROTECTIVE_SECONDS = 30.0


@pytest.fixture
def in_child() -> InChild:
    """For what acts on all children of its process, as the supervisor does."""

    def run(function: Callable[[], Any]) -> Any:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            _report(function, write_end)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as answers:
            answer = answers.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert answer, f"the child ended with {status} without an answer"
        raised, value = pickle.loads(answer)
        if raised:
            raise value
        return value

    return run


def _report(function: Callable[[], Any], write_end: int) -> NoReturn:
    signal.alarm(int(_PROTECTIVE_SECONDS))
    try:
        try:
            answer = (False, function())
        except Exception as error:  # noqa: BLE001  (raised again in the test)
            answer = (True, error)
        os.write(write_end, pickle.dumps(answer))
    except BaseException:  # noqa: BLE001  (there is nobody above)
        traceback.print_exc()
    finally:
        _leave(0)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """For what is watched from outside; ended after the test, if it has not ended by then."""
    started: list[int] = []

    def spawn(function: Callable[[], int], output: Path) -> int:
        child = os.fork()
        if child == 0:
            _become(function, output)
        started.append(child)
        return child

    yield spawn
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def _become(function: Callable[[], int], output: Path) -> NoReturn:
    status = 99
    try:
        os.setsid()
        with output.open("wb") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        sys.stdout = sys.stderr = os.fdopen(2, "w")
        status = function()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001  (there is nobody above)
        traceback.print_exc()
    finally:
        _leave(status)


def _leave(status: int) -> NoReturn:
    """Never go on as a second pytest, even where a signal's handler raises."""
    while True:
        try:
            os._exit(status)
        except BaseException:  # noqa: BLE001
            continue


@pytest.fixture
def run_cli(tmp_path: Path) -> RunCli:
    """The command line as a user has it, with a home directory of its own and none of our variables."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)

    def run(
        *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(REPOSITORY)}
        clean |= {"OOD_RUNTIME_SITE_CONFIG": str(_empty(home / "site.yml")), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, "-m", "ood_runtime", *arguments],
            env={**clean, **(env or {})},
            cwd=cwd or home,
            capture_output=True,
            text=True,
            timeout=_PROTECTIVE_SECONDS,
            check=False,
        )

    return run


def _empty(path: Path) -> Path:
    path.touch()
    return path


@pytest.fixture
def wait_until() -> WaitUntil:
    """Wait until a function gives something true, and give it; fails after so many seconds."""

    def wait(look: Callable[[], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := look()):
            assert time.monotonic() < deadline, "what was waited for did not happen"
            time.sleep(0.005)
        return value

    return wait


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    """The places of a session."""
    root = tmp_path / "session"
    return Directories(root, root / "ood-runtime", root / "logs", tmp_path / "scratch", tmp_path / "sockets")


@pytest.fixture
def allocation(tmp_path: Path) -> Allocation:
    """One node with 4 processors and 16 GiB."""
    return Allocation("local", "", (Node("node1", 4, 16 * GIB),), tmp_path)


@pytest.fixture
def place() -> Place:
    """The loopback address of this machine."""
    return Place("localhost", "127.0.0.1")


@pytest.fixture
def scene(root: Path, scratch: Path) -> Scene:
    """A stage for a supervisor."""
    return Scene(root, scratch)


@pytest.fixture
def fast_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services are started again at once."""
    monkeypatch.setattr(supervisor, "_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Settings files of every layer, all empty."""
    return Files(tmp_path)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where scratch directories are made."""
    path = tmp_path / "scratch"
    path.mkdir()
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a session, which is not there yet."""
    return tmp_path / "session"

"""Sessions in hostile places, and what must be gone after each: the only place where tests look for all remains."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ood_runtime.ports import listeners
from tests.support.accounts import user_of_tests
from tests.support.running import RunningSession, files_below, processes_of

STOP_SECONDS = 8.0  # timeouts.stop as it comes
# Small, and without the builder of archives, which would take the processor from short sessions.
_SPARK = {"driver.memory": "512m", "worker.memory": "1g", "executor.memory": "512m", "class_data": "use"}


@dataclass(frozen=True)
class Traces:
    """Where a session that is ready lives, noted while it can still be seen."""

    id: str
    outside: tuple[Path, ...]
    processes: frozenset[int]
    secrets: frozenset[str]
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A short directory for one or more sessions of the user of the tests, with a home and a TMPDIR."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def left(self) -> list[Path]:
        """What is left in TMPDIR, but for what a killed R leaves: Jupyter asks it for a language server."""
        return [path for path in self.tmp.iterdir() if not path.name.startswith("Rtmp")]


@contextmanager
def place(below: Path = Path("/tmp")) -> Iterator[Place]:
    """A new place; afterwards everything below it is removed."""
    user = user_of_tests()
    root = Path(tempfile.mkdtemp(prefix="f", dir=below))
    for path in (root, root / "home", root / "tmp"):
        path.mkdir(exist_ok=True)
        os.chown(path, user.uid, user.gid)
    try:
        yield Place(root)
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", "--", str(root)], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--", str(root)], check=True)


@contextmanager
def launched(
    at: Place,
    app: str,
    *arguments: str,
    directory: Path | str = "",
    env: Mapping[str, str | None] | None = None,
    shell: str = "",
    cwd: Path | None = None,
) -> Iterator[RunningSession]:
    """`ood-runtime start APP` as a user does it; afterwards it is ended, and nothing of it may be left.

    ``directory`` is what --session-dir gets, "" stands for one below the place; a variable of ``env`` that is None
    is unset; ``shell`` is run by sh before it, as in ``umask 077``, and may redirect with ``exec``.
    """
    where = directory or at.root / "session"
    session = launch(at, app, *arguments, directory=where, env=env, shell=shell, cwd=cwd)
    try:
        yield session
        session.stop()
        session.assert_nothing_left()
    finally:
        session.kill_remains()


def launch(
    at: Place,
    app: str,
    *arguments: str,
    directory: Path | str,
    env: Mapping[str, str | None] | None = None,
    shell: str = "",
    cwd: Path | None = None,
) -> RunningSession:
    """What ``launched`` starts; the caller ends it."""
    work = cwd or at.root
    output = at.root / f"output-{time.monotonic_ns()}"
    options = [word for key, value in _SPARK.items() for word in ("--set", f"spark.{key}={value}") if "spark" in app]
    command = [sys.executable, "-m", "ood_runtime", "start", app, "--session-dir", str(directory)]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'{shell}\nexec "$@"', "sh", *command, *options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=work,
            env=environment(at, env),
            start_new_session=True,
            **user_of_tests().identity(),
        )
    return RunningSession(process, work / directory, output)


def environment(at: Place, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """The environment of sessions at this place, with ``env`` over it; None unsets."""
    user = user_of_tests()
    repository = str(Path(__file__).parents[2])
    cache = str(user.home / ".cache" / "ood-runtime-tests")
    own = {"HOME": str(at.home), "TMPDIR": str(at.tmp), "XDG_CACHE_HOME": cache, "PYTHONPATH": repository}
    merged: dict[str, str | None] = {**user.environment(own), **(env or {})}
    return {key: value for key, value in merged.items() if value is not None}


def command(at: Place, name: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`ood-runtime NAME` for the session in ``directory``, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ood_runtime", name, "--session-dir", str(directory), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=at.root,
        env=environment(at),
        **user_of_tests().identity(),
    )


def traces(session: RunningSession) -> Traces:
    """What there is to see of a session that is ready."""
    connection = session.connection()
    record = json.loads((session.directory / "ood-runtime" / "session.json").read_text())
    return Traces(
        id=session.id,
        outside=tuple(map(Path, record["outside"])),
        processes=frozenset(session.processes()),
        secrets=session.secrets(),
        ports=(int(connection["port"]),),
    )


def assert_gone(session: RunningSession, seen: Traces, within: float = 2.0) -> None:
    """No process, port, directory or secret that was seen is there, after so many seconds at most."""
    soon(lambda: not processes_of(seen.id), f"the end of {processes_of(seen.id)}", within)
    assert not any(listeners(port) for port in seen.ports)
    assert not [path for path in seen.outside if path.exists()]
    assert not (session.directory / "connection.yml").exists()
    for path in files_below(session.directory):
        content = path.read_text(errors="replace")
        assert not any(secret in content for secret in seen.secrets), f"{path} still holds a secret"


def supervisor_of(session: RunningSession) -> int:
    """The child that does the work, as soon as the process that was started has it."""
    return session.wait_for(lambda: next(iter(_children(session.process.pid)), None), "a supervisor")


def pid_of(session: RunningSession, service: str) -> int | None:
    """The process of a service now, None while there is none."""
    state = state_of(session, service)
    return state["pid"] if state and isinstance(state["pid"], int) else None


def state_of(session: RunningSession, service: str) -> dict[str, object] | None:
    """What status.json says of a service."""
    services = session.status()["services"]
    assert isinstance(services, list)
    return next((entry for entry in services if entry["name"] == service), None)


def kill(*pids: int | None, sig: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to each of these at the same time."""
    for pid in pids:
        assert pid is not None
        os.kill(pid, sig)


def soon(look: Callable[[], object], what: str, within: float = 10.0) -> None:
    """Wait until ``look`` says yes; fails after so many seconds."""
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"no {what} after {within:.0f} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children() if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []

"""Fixtures for all tests: real sessions, and the second user of a machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.accounts import Account, second_user, user_of_tests
from tests.support.jupyter import Connection, JupyterClient, log_in
from tests.support.running import RunningSession

REPOSITORY = Path(__file__).parent.parent


class StartSession(Protocol):
    """Start a session and hand back at once; it is ended, and searched for remains, after the test."""

    def __call__(
        self, app: str, *arguments: str, directory: Path | None = None, env: Mapping[str, str] | None = None
    ) -> RunningSession: ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written anew on request only."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A private directory with a short path (sockets allow 107 bytes), owned by the user of the tests."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir="/tmp"))
    user = user_of_tests()
    os.chown(path, user.uid, user.gid)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def mallory() -> Account:
    """Another user of this machine, the enemy."""
    return second_user()


@pytest.fixture
def start_session(short_tmp: Path) -> Iterator[StartSession]:
    """Starts `ood-runtime start APP ...` as a user does, by an unprivileged user, in a clean environment.

    After the test every session must end at SIGTERM, if it has not ended yet, and leave nothing behind.
    """
    running: list[RunningSession] = []

    def start(
        app: str, *arguments: str, directory: Path | None = None, env: Mapping[str, str] | None = None
    ) -> RunningSession:
        place = directory or short_tmp / f"session-{len(running)}"
        session = _spawn(app, arguments, place, env or {}, short_tmp / f"output-{len(running)}")
        running.append(session)
        return session

    yield start
    try:
        for session in running:
            session.stop()
            session.assert_nothing_left()
    finally:
        for session in running:
            session.kill_remains()


@pytest.fixture
def log_in_to() -> Iterator[Callable[[Connection], JupyterClient]]:
    """Logs in to a session's Jupyter with what connection.yml says; logs out after the test."""
    clients: list[JupyterClient] = []

    def log_in_and_keep(connection: Connection) -> JupyterClient:
        clients.append(log_in(connection))
        return clients[-1]

    yield log_in_and_keep
    for client in clients:
        client.close()


def _spawn(
    app: str, arguments: tuple[str, ...], directory: Path, env: Mapping[str, str], output: Path
) -> RunningSession:
    user = user_of_tests()
    # A new user's home, because JupyterLab remembers what was open; what is slow to build is kept.
    home = output.parent / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, user.uid, user.gid)
    cache = user.home / ".cache" / "ood-runtime-tests"
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "TMPDIR": str(output.parent)}
    command = [sys.executable, "-m", "ood_runtime", "start", app, "--session-dir", str(directory), *arguments]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
            env=user.environment({**own, **env}),
            start_new_session=True,
            **user.identity(),
        )
    return RunningSession(process, directory, output)

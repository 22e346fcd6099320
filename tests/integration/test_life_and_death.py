"""Signals at every moment of a session, and what a user leaves running: nothing outlives the end."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.faults import (
    STOP_SECONDS,
    Place,
    alive,
    assert_gone,
    command,
    kill,
    launched,
    place,
    supervisor_of,
    traces,
)
from tests.support.jupyter import log_in
from tests.support.running import RunningSession

pytestmark = pytest.mark.integration

SEED = 20240229
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        yield new


def moments() -> list[tuple[int, float, signal.Signals, str]]:
    """20 moments of a start, in shares of what a start takes; the first ones before Python runs."""
    draw = random.Random(SEED)
    shares = [0.0, 0.01, 0.02, 0.04, *(draw.random() for _ in range(16))]
    apps = ("jupyter", "jupyter-spark")
    return [(n, share, END_SIGNALS[n % 3], apps[n % 2]) for n, share in enumerate(shares)]


@pytest.fixture(scope="module")
def start_takes() -> dict[str, float]:
    """Seconds from start to connection.yml on this machine now."""
    taken = {}
    for app in ("jupyter", "jupyter-spark"):
        with place() as new, launched(new, app) as session:
            begin = time.monotonic()
            session.connection()
            taken[app] = time.monotonic() - begin
    return taken


@pytest.mark.parametrize(("number", "share", "sig", "app"), moments())
def test_signal_at_any_moment_of_the_start(
    at: Place, start_takes: dict[str, float], number: int, share: float, sig: signal.Signals, app: str
) -> None:
    with launched(at, app) as session:
        time.sleep(share * start_takes[app] * 1.05)
        begin = time.monotonic()
        status = session.stop(sig)
        took = time.monotonic() - begin
        print(f"seed {SEED}, moment {number}: {sig.name} ended {app} with {status} after {took:.2f} s")
        # Before Python has installed a handler the signal itself ends the process.
        assert status in (128 + sig, -sig), session.output()
        assert took < STOP_SECONDS + 2
        assert "Traceback" not in session.output() or status == -signal.SIGINT
        assert not at.left()


@pytest.mark.parametrize("sig", END_SIGNALS)
def test_signal_while_publishing(at: Place, sig: signal.Signals) -> None:
    with launched(at, "jupyter") as session:

        def publishing() -> bool | None:
            return any("connection.yml" in name for name in _names(session.directory)) or None

        while not publishing():
            assert session.process.poll() is None, session.output()
        assert session.stop(sig) == 128 + sig
        assert not at.left()
        assert not [name for name in _names(session.directory) if "connection" in name]


def test_signals_to_both_processes_and_again(at: Place) -> None:
    with launched(at, "jupyter") as session:
        seen = traces(session)
        supervisor = supervisor_of(session)
        kill(session.process.pid, supervisor, sig=signal.SIGTERM)
        kill(session.process.pid, sig=signal.SIGTERM)
        if alive(supervisor):
            kill(supervisor, sig=signal.SIGINT)
        assert session.wait() in (143, 130)
        assert "Traceback" not in session.output()
        assert_gone(session, seen)


def test_signal_to_everything_at_once(at: Place) -> None:
    """As a scheduler does it: the end must not take longer because the services have heard it too."""
    with launched(at, "jupyter-spark") as session:
        seen = traces(session)
        begin = time.monotonic()
        kill(*seen.processes, session.process.pid, sig=signal.SIGTERM)
        assert session.wait() == 143
        print(f"took {time.monotonic() - begin:.2f} s")
        assert_gone(session, seen)
        assert time.monotonic() - begin < STOP_SECONDS / 2


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_both_killed_while_starting(at: Place, start_takes: dict[str, float], share: float) -> None:
    with launched(at, "jupyter") as session:
        time.sleep(share * start_takes["jupyter"])
        kill(supervisor_of(session), session.process.pid)
        session.wait()
        if (session.directory / "ood-runtime" / "session.json").exists():
            assert command(at, "stop", session.directory).returncode == 0
        assert not at.left()


LEAVERS = {
    "a daemon": "setsid sleep 3600 & disown",
    "one that ignores signals": "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' &",
    "one without environment": "setsid env -i /bin/sleep 3600 &",
    "one that forks all the time": "setsid env -i /bin/sh -c 'while :; do sleep 0.2 & sleep 0.1; done' &",
}


@pytest.mark.parametrize("end", ["stop", "SIGTERM", "kill the supervisor"])
def test_what_a_user_leaves_running(at: Place, end: str) -> None:
    with launched(at, "jupyter") as session:
        seen = traces(session)
        client = log_in(session.connection())
        kernel = client.start_kernel("python3")
        for code in LEAVERS.values():
            client.run(kernel, f"import subprocess; subprocess.Popen(['bash', '-c', {code!r}])")
        terminal = client.request("POST", "api/terminals")
        assert terminal.status_code == 200
        client.close()
        started = {child.pid for child in psutil.Process(session.process.pid).children(recursive=True)}
        assert len(started) > 2 + len(LEAVERS)
        begin = time.monotonic()
        _end(at, session, end)
        took = time.monotonic() - begin
        assert took < STOP_SECONDS + 2, took
        assert not [pid for pid in started if alive(pid)]
        assert_gone(session, seen)


def _end(at: Place, session: RunningSession, how: str) -> None:
    if how == "stop":
        assert command(at, "stop", session.directory).returncode == 0
        assert session.wait() == 0
    elif how == "SIGTERM":
        assert session.stop() == 143
    else:
        kill(supervisor_of(session))
        assert session.wait() == 137


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208  (must be fast)
    except FileNotFoundError:
        return []

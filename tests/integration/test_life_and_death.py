"""Every way in which a session, or a part of it, is ended or killed: what must go on, and what must be gone."""

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
    pid_of,
    place,
    soon,
    state_of,
    supervisor_of,
    traces,
)
from tests.support.jupyter import log_in
from tests.support.running import RunningSession

pytestmark = pytest.mark.integration

SUM = "print(sc.parallelize(range(1000)).sum())"
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
        assert not list(at.tmp.iterdir())


@pytest.mark.parametrize("sig", END_SIGNALS)
def test_signal_while_publishing(at: Place, sig: signal.Signals) -> None:
    with launched(at, "jupyter") as session:

        def publishing() -> bool | None:
            return any("connection.yml" in name for name in _names(session.directory)) or None

        while not publishing():
            assert session.process.poll() is None, session.output()
        assert session.stop(sig) == 128 + sig
        assert not list(at.tmp.iterdir())
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


def test_guard_killed(at: Place) -> None:
    with launched(at, "jupyter") as session:
        seen = traces(session)
        supervisor = supervisor_of(session)
        kill(session.process.pid)
        soon(lambda: not alive(supervisor), "end of the supervisor", STOP_SECONDS + 2)
        assert_gone(session, seen)
        assert session.status()["state"] == "ended"


def test_supervisor_killed(at: Place) -> None:
    with launched(at, "jupyter-spark") as session:
        seen = traces(session)
        kill(supervisor_of(session))
        assert session.wait(STOP_SECONDS + 2) == 137
        assert_gone(session, seen)
        assert "supervisor" in session.output()
        assert session.status()["state"] == "failed"


def test_supervisor_killed_and_guard_signalled(at: Place) -> None:
    """The signals that come while the guard clears up must not keep it from that."""
    with launched(at, "jupyter") as session:
        seen = traces(session)
        kill(supervisor_of(session))
        while session.process.poll() is None:
            session.process.send_signal(signal.SIGTERM)
            time.sleep(0.005)
        assert_gone(session, seen)
        assert "Traceback" not in session.output()


@pytest.mark.parametrize("clear_with", ["start", "stop"])
def test_both_killed_then_cleared_by_the_next(at: Place, clear_with: str) -> None:
    with launched(at, "jupyter-spark") as session:
        seen = traces(session)
        services = [pid_of(session, name) for name in ("jupyter", "spark-master", "spark-worker")]
        kill(supervisor_of(session), session.process.pid)
        soon(lambda: not any(alive(pid) for pid in services if pid), "end of the services", 3)
        assert command(at, "status", session.directory).stdout.count("killed")
        if clear_with == "stop":
            done = command(at, "stop", session.directory)
            assert done.returncode == 0
            assert "erased the secrets" in done.stdout
        else:
            with launched(at, "jupyter", directory=session.directory) as second:
                second.wait_for(lambda: "ready:" in second.output() or None, "a second session")
                assert "erased the secrets" in second.output()
                log_in(second.connection()).close()
                assert not [path for path in seen.outside if path.exists()]
        assert_gone(session, seen)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_both_killed_while_starting(at: Place, start_takes: dict[str, float], share: float) -> None:
    with launched(at, "jupyter") as session:
        time.sleep(share * start_takes["jupyter"])
        kill(supervisor_of(session), session.process.pid)
        session.wait()
        if (session.directory / "ood-runtime" / "session.json").exists():
            assert command(at, "stop", session.directory).returncode == 0
        assert not list(at.tmp.iterdir())


def test_planner_killed(at: Place) -> None:
    """Its end is an error in words, not a hang."""
    with launched(at, "jupyter") as session:
        supervisor = supervisor_of(session)
        soon(lambda: psutil.Process(supervisor).children(), "planner", 5)
        kill(psutil.Process(supervisor).children()[0].pid)
        assert session.wait(STOP_SECONDS) == 1
        assert "planning process ended" in session.output()
        assert "Traceback" not in session.output()


def test_jupyter_killed(at: Place) -> None:
    with launched(at, "jupyter") as session:
        seen = traces(session)
        kill(pid_of(session, "jupyter"))
        assert session.wait(STOP_SECONDS + 2) == 5
        assert "SIGKILL" in session.output()
        assert "    | " in session.output()
        assert "logs/jupyter.log" in session.output()
        assert_gone(session, seen)


def test_jupyter_shut_down_from_its_menu(at: Place) -> None:
    with launched(at, "jupyter") as session:
        seen = traces(session)
        client = log_in(session.connection())
        assert client.request("POST", "api/shutdown").status_code == 200
        client.close()
        assert session.wait(STOP_SECONDS + 2) == 0
        assert_gone(session, seen)


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


def test_spark_comes_back(at: Place) -> None:
    """Worker and master are killed under a running kernel, which then computes again; after that a clear end."""
    with launched(at, "jupyter-spark") as session:
        seen = traces(session)
        client = log_in(session.connection())
        kernel = client.start_kernel()
        assert client.run(kernel, SUM).strip() == "499500"
        for service in ("spark-worker", "spark-master"):
            before = pid_of(session, service)
            kill(before)
            soon(lambda s=service, b=before: pid_of(session, s) not in (b, None), f"new {service}")  # type: ignore[misc]
            soon(lambda s=service: (state_of(session, s) or {}).get("state") == "ready", f"ready {service}", 60)  # type: ignore[misc]
            assert client.run(kernel, SUM).strip() == "499500", service
        client.close()
        _kill_until_it_gives_up(session)
        assert session.wait(30) == 5
        assert "spark-master ended with signal SIGKILL" in session.output()
        assert_gone(session, seen)


def _kill_until_it_gives_up(session: RunningSession) -> None:
    deadline = time.monotonic() + 90
    while session.process.poll() is None and time.monotonic() < deadline:
        pid = pid_of(session, "spark-master")
        if pid and alive(pid):
            kill(pid)
        time.sleep(0.1)

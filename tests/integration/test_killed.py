"""SIGKILL for every process of a session: what must go on, what must be gone, and what the next one clears."""

import shutil
import signal
import time
from collections.abc import Iterator

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
from tests.support.needs import need
from tests.support.running import RunningSession, files_below

pytestmark = pytest.mark.integration

SUM = "print(sc.parallelize(range(1000)).sum())"


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        yield new


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


def test_planner_killed(at: Place) -> None:
    """Its end is an error in words, not a hang."""
    with launched(at, "jupyter") as session:
        supervisor = supervisor_of(session)
        soon(lambda: psutil.Process(supervisor).children(), "planner", 5)
        kill(psutil.Process(supervisor).children()[0].pid)
        assert session.wait(STOP_SECONDS) == 5
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
            soon(lambda: (state_of(session, "spark-cluster") or {}).get("detail") == "1 of 1 workers", "the worker", 60)
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


def test_supervisor_killed_while_it_writes_a_secret(at: Place) -> None:
    """The half-written file beside connection.yml holds the password: the guard, or the next stop, removes it."""
    strace = need("strace")
    shell = f'set -- {strace} -f -o /dev/null -e trace=fsync -e inject=fsync:signal=SIGKILL:when=1 "$@"'
    with launched(at, "jupyter", shell=shell) as session:
        assert session.wait(60) == 137
        assert not [path for path in files_below(session.directory) if "connection.yml" in path.name]


def test_guard_that_clears_late_spares_the_next_session(at: Place) -> None:
    with launched(at, "jupyter") as first:
        first.connection()
        supervisor = supervisor_of(first)
        # A loaded node: the guard does not get to run before the next session is ready.
        kill(first.process.pid, sig=signal.SIGSTOP)
        kill(supervisor)
        with launched(at, "jupyter") as second:
            second.wait_for(lambda: "ready:" in second.output() or None, "second session")
            kill(first.process.pid, sig=signal.SIGCONT)
            assert first.process.wait(STOP_SECONDS + 2) == 137
            assert second.process.poll() is None, second.output()
            log_in(second.connection()).close()
            assert second.stop() == 143


def test_logs_removed_when_a_service_is_restarted(at: Place) -> None:
    """The session goes on, or ends in words; not with a traceback."""
    with launched(at, "jupyter-spark") as session:
        session.connection()
        shutil.rmtree(session.directory / "logs")
        worker = pid_of(session, "spark-worker")
        kill(worker)
        soon(lambda: session.process.poll() is not None or pid_of(session, "spark-worker") != worker, "new worker")
        assert session.stop() in (143, 2, 5), session.output()
        assert "Traceback" not in session.output()


@pytest.mark.parametrize("how", ["removed", "closed", "private part closed"])
def test_directory_taken_away_while_running(at: Place, how: str) -> None:
    """Nothing that fails at the end keeps the rest of it from being done."""
    with launched(at, "jupyter") as session:
        seen = traces(session)
        closed = {"removed": [], "closed": ["ood-runtime", "."], "private part closed": ["ood-runtime"]}[how]
        if how == "removed":
            shutil.rmtree(session.directory)
        for name in closed:
            (session.directory / name).chmod(0o555)
        try:
            assert session.stop() == 143, session.output()
            assert "Traceback" not in session.output()
            assert not at.left()
            assert not any(alive(pid) for pid in seen.processes)
        finally:
            for name in closed:
                (session.directory / name).chmod(0o700)
        if closed:
            assert command(at, "stop", session.directory).returncode in (0, 2)

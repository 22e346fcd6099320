"""A whole session with small programs in the place of Jupyter: under its guard, to every kind of end."""

import json
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ood_runtime import guard, lifecycle, processes, session
from ood_runtime.allocation import Allocation
from ood_runtime.cli.group import report
from ood_runtime.errors import OodRuntimeError
from ood_runtime.plan import Outline, Place
from ood_runtime.progress import Progress
from ood_runtime.request import Request
from tests.unit.calls import Spawn, WaitUntil
from tests.unit.small_session import Running, SmallPlanner, StartSmall


@pytest.fixture
def start(tmp_path: Path, spawn: Spawn, wait_until: WaitUntil) -> StartSmall:
    def start(script: str = "", environment: Mapping[str, str] | None = None, root: Path | None = None) -> Running:
        directory = root or tmp_path / "a session's directory"
        outline = Outline(
            app="small",
            allocation=Allocation("local", "", (), tmp_path),
            place=Place("localhost", "127.0.0.1"),
            session_directory=directory,
            scratch_base=tmp_path,
            port_names=("web",),
            port_range=(20000, 32767),
            secret_names={"password": "password"},
            stop_seconds=3.0,
        )
        request = Request("small", environment or {"PATH": os.environ["PATH"]})

        def work(announce: guard.Announce) -> int:
            try:
                return lifecycle.run(SmallPlanner(request, outline, script), request, announce, Progress())
            except OodRuntimeError as error:
                report(error)
                return error.exit_status

        output = tmp_path / "output"
        return Running(spawn(lambda: guard.run(work), output), directory, output, wait_until)

    return start


def nothing_left(running: Running, identifier: str, wait_until: WaitUntil) -> bool:
    wait_until(lambda: not processes.marked(identifier), 5)
    assert not (running.root / "connection.yml").exists()
    assert not (running.root / "ood-runtime" / "web" / "secret").exists()
    assert not list(running.root.parent.glob("ood-*")), "scratch space"
    assert not session.running(running.root)
    return True


def test_a_session_from_its_start_to_its_end(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start()
    connection = running.until_ready()
    identifier = running.status()["id"]
    with socket.create_connection((connection["host"], connection["port"])):
        pass
    assert (running.root / "ood-runtime/web/secret").read_text() == connection["password"]
    assert len(processes.marked(identifier)) == 3
    os.kill(running.guard, signal.SIGTERM)
    assert running.wait() == 143
    assert nothing_left(running, identifier, wait_until)
    assert running.status()["state"] == "ended"
    events = [json.loads(line) for line in (running.root / "events.jsonl").read_text().splitlines()]
    phases = [event["event"] for event in events if event["event"] not in ("service", "notice")]
    assert phases == ["starting", "ready", "stopping", "ended"]
    assert connection["password"] not in running.output.read_text()
    for path in running.root.rglob("*"):
        assert path.is_dir() or connection["password"] not in path.read_text(errors="replace"), path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("receiver", ["guard", "supervisor"])
def test_signals_to_either_process(
    start: StartSmall, wait_until: WaitUntil, number: signal.Signals, receiver: str
) -> None:
    running = start()
    running.until_ready()
    identifier = running.status()["id"]
    os.kill(getattr(running, receiver), number)
    assert running.wait() == 128 + number
    assert nothing_left(running, identifier, wait_until)


def test_stop_asked_from_anywhere(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start()
    running.until_ready()
    session.ask_to_stop(running.root)
    assert running.wait() == 0
    assert running.status()["message"] == "ended: ood-runtime stop"
    assert nothing_left(running, running.status()["id"], wait_until)


def test_the_supervisor_is_killed(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start("stubborn")
    running.until_ready()
    identifier = running.status()["id"]
    os.kill(running.supervisor, signal.SIGKILL)
    assert running.wait() == 137
    assert nothing_left(running, identifier, wait_until)
    status = running.status()
    assert status["state"] == "failed"
    assert "SIGKILL" in status["error"]["what"]
    assert "SIGKILL" in running.output.read_text()


def test_a_launcher_is_given_time_when_the_supervisor_is_killed(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start("launcher")
    running.until_ready()
    identifier = running.status()["id"]
    wait_until((running.root / "launched").exists)
    os.kill(running.supervisor, signal.SIGKILL)
    assert running.wait() == 137
    assert nothing_left(running, identifier, wait_until)
    assert (running.root / "cleared").exists()


def test_the_supervisor_is_killed_and_the_job_ends_at_the_same_time(start: StartSmall, wait_until: WaitUntil) -> None:
    """Signals that come while the guard clears up must not keep it from that."""
    running = start("stubborn")
    running.until_ready()
    identifier = running.status()["id"]
    supervisor = running.supervisor
    os.kill(supervisor, signal.SIGKILL)
    for _ in range(200):
        try:
            os.kill(running.guard, signal.SIGTERM)
        except ProcessLookupError:
            break
        time.sleep(0.001)
    assert running.wait() == 137, running.output.read_text()
    assert nothing_left(running, identifier, wait_until)


def test_the_supervisor_is_killed_while_it_starts(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start()
    wait_until((running.root / "status.json").exists)
    identifier = running.status()["id"]
    os.kill(running.supervisor, signal.SIGKILL)
    assert running.wait() == 137
    assert nothing_left(running, identifier, wait_until)


def test_the_guard_is_killed(start: StartSmall, wait_until: WaitUntil) -> None:
    """The supervisor hears of it, and ends the session in order."""
    running = start("stubborn")
    running.until_ready()
    identifier = running.status()["id"]
    os.kill(running.guard, signal.SIGKILL)
    assert running.wait() == -9
    wait_until(lambda: running.status()["state"] == "ended")
    wait_until(lambda: not session.running(running.root))
    assert nothing_left(running, identifier, wait_until)


def test_both_are_killed_and_the_next_start_clears_up(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start("stubborn")
    old = running.until_ready()
    identifier = running.status()["id"]
    supervisor = running.supervisor
    os.kill(running.guard, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(running.guard, signal.SIGKILL)
    running.wait()
    wait_until(lambda: not session.running(running.root))
    # Only the kernel's promise is left: direct children die with the supervisor, grandchildren need not.
    again = start()
    wait_until(lambda: again.status()["id"] != identifier)
    new = again.until_ready()
    assert new["password"] != old["password"]
    assert not processes.marked(identifier)
    os.kill(again.guard, signal.SIGTERM)
    assert again.wait() == 143
    assert nothing_left(again, again.status()["id"], wait_until)


def test_an_essential_service_is_killed(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start()
    running.until_ready()
    status = running.status()
    (web,) = [service for service in status["services"] if service["name"] == "web"]
    os.kill(web["pid"], signal.SIGKILL)
    assert running.wait() == 5
    assert nothing_left(running, status["id"], wait_until)
    output = running.output.read_text()
    assert "ood-runtime: web ended with signal SIGKILL" in output
    assert f"log: {running.root / 'logs' / 'web.log'}" in output
    assert "what to do: " in output
    assert running.status()["error"]["exit_status"] == 5


@pytest.mark.parametrize("why", ["signal", "death"])
def test_the_connection_is_the_first_thing_to_go(start: StartSmall, wait_until: WaitUntil, why: str) -> None:
    running = start("stubborn")
    running.until_ready()
    services = {service["name"]: service["pid"] for service in running.status()["services"]}
    if why == "signal":
        os.kill(running.guard, signal.SIGTERM)
    else:
        os.kill(services["stay"], signal.SIGKILL)
    wait_until(lambda: not (running.root / "connection.yml").exists())
    assert processes.started_at(services["web"]), "the service that does not want to end is still there"
    assert running.wait() == (143 if why == "signal" else 5)


def test_a_lost_port_is_drawn_again(start: StartSmall) -> None:
    running = start("taken once")
    connection = running.until_ready()
    (notice,) = running.status()["notices"]
    assert notice.startswith("another program ")
    assert notice.endswith("; drawing other ports")
    with socket.create_connection((connection["host"], connection["port"])):
        pass
    os.kill(running.guard, signal.SIGTERM)
    assert running.wait() == 143


def test_ports_that_are_always_lost_end_the_start(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start("taken")
    assert running.wait() == 3
    assert "took the ports that were drawn, 5 times" in running.output.read_text()
    assert nothing_left(running, running.status()["id"], wait_until)


def test_what_is_missing_is_told_before_anything_is_made(start: StartSmall) -> None:
    running = start("missing")
    assert running.wait() == 3
    assert running.output.read_text() == "ood-runtime: no Jupyter here\n  what to do: install it\n"
    assert not running.root.exists()


def test_the_end_while_an_environment_does_not_load(start: StartSmall, wait_until: WaitUntil) -> None:
    running = start("hanging")
    wait_until(lambda: len(processes.tree(running.guard)[1:]) >= 2)
    left = processes.tree(running.guard)[1:]
    os.kill(running.guard, signal.SIGTERM)
    assert running.wait() == 128 + signal.SIGTERM
    wait_until(lambda: not any(map(processes.alive, left)))
    assert not running.root.exists()


def test_a_second_session_in_the_same_directory(start: StartSmall, tmp_path: Path) -> None:
    first = start()
    first.until_ready()
    second = start()
    assert second.wait() == 2
    assert "a session already runs in" in second.output.read_text()
    assert first.status()["state"] == "ready"
    assert (first.root / "connection.yml").exists()
    os.kill(first.guard, signal.SIGTERM)
    assert first.wait() == 143


def test_a_defect_of_ours_ends_with_a_trace_and_no_session(spawn: Spawn, tmp_path: Path, wait_until: WaitUntil) -> None:
    def work(announce: guard.Announce) -> int:
        raise ZeroDivisionError("a defect")

    running = Running(spawn(lambda: guard.run(work), tmp_path / "output"), tmp_path, tmp_path / "output", wait_until)
    assert running.wait() == 1
    assert "ZeroDivisionError: a defect" in running.output.read_text()


@pytest.mark.parametrize("status", [0, 1, 42])
def test_the_exit_status_is_that_of_the_work(spawn: Spawn, tmp_path: Path, wait_until: WaitUntil, status: int) -> None:
    pid = spawn(lambda: guard.run(lambda announce: status), tmp_path / "output")
    assert Running(pid, tmp_path, tmp_path / "output", wait_until).wait() == status


def test_the_end_at_many_moments_of_the_start(start: StartSmall, wait_until: WaitUntil, tmp_path: Path) -> None:
    for i in range(8):
        running = start(root=tmp_path / f"moment {i}")
        time.sleep(0.02 * i)
        os.kill(running.guard, signal.SIGTERM)
        # Before it has a handler the signal just ends the guard, which has started nothing then.
        assert running.wait() in (143, -15), running.output.read_text()
        try:
            identifier = session.read_record(running.root).id
        except OodRuntimeError:
            continue
        assert nothing_left(running, identifier, wait_until)

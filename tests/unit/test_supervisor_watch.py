"""The supervisor watches: what is started again, what ends the session, and what never matters."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import processes, supervisor
from ood_runtime.status import Status
from ood_runtime.supervisor import EndAskedError, Supervisor
from tests.unit.calls import InChild
from tests.unit.scene import STAY, Exists, Scene, outcome, service, watch_and_kill


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.usefixtures("fast_backoff")
def test_restarts_are_counted_and_end(scene: Scene, in_child: InChild, remote: bool) -> None:
    def then(running: Supervisor, status: Status) -> None:
        def end_when_given_up(status: Status, event: dict[str, Any]) -> None:
            if event.get("state") == "failed":
                os.kill(os.getpid(), signal.SIGTERM)

        status.listeners.append(end_when_given_up)
        watch_and_kill("worker", 3)(running, status)

    worker = service("worker", essential=False, restarts=2, remote=remote)
    why, exit_status, states = in_child(lambda: outcome(scene, [worker, service("jupyter")], then))
    assert (why, exit_status) == ("signal SIGTERM", 128 + 15)
    again = ["restarting", "starting", "ready"]
    assert states == ["starting", "ready", *again, *again, "failed", "ended"]


@pytest.mark.usefixtures("fast_backoff")
def test_an_essential_service_that_has_used_its_restarts_ends_the_session(scene: Scene, in_child: InChild) -> None:
    master = service("master", f"echo died here; {STAY}", restarts=1)
    why, exit_status, states = in_child(lambda: outcome(scene, [master], watch_and_kill("master", 2)))
    assert why.startswith("master ended with signal SIGKILL")
    assert "| died here" in why
    assert exit_status == 5
    assert states.count("restarting") == 1


def test_waits_grow_between_restarts(scene: Scene, in_child: InChild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_BACKOFF_SECONDS", 0.1)

    def scenario() -> list[float]:
        times = []

        def then(running: Supervisor, status: Status) -> None:
            status.listeners.append(
                lambda status, event: times.append(time.monotonic()) if event["state"] == "starting" else None
            )
            watch_and_kill("worker", 4)(running, status)

        outcome(scene, [service("worker", restarts=3)], then)
        return times

    first, second, third = in_child(scenario)
    assert second - first >= 0.1
    assert third - second >= 0.2


def test_an_essential_service_that_ends_with_0_was_shut_down(scene: Scene, in_child: InChild) -> None:
    """Jupyter's menu, or `exit 0` of what cannot be restarted anyway."""
    jupyter = service("jupyter", "trap 'exit 0' USR1; while :; do sleep 0.02; done", restarts=3)
    why, exit_status, _ = in_child(lambda: outcome(scene, [jupyter], watch_and_kill("jupyter", 1, signal.SIGUSR1)))
    assert (why, exit_status) == ("jupyter was shut down", 0)


def test_the_processes_of_a_dead_service_are_ended_before_it_starts_again(scene: Scene, in_child: InChild) -> None:
    """What a killed worker had started would keep its ports and its memory."""

    def then(running: Supervisor, status: Status) -> int:
        left: list[int] = []

        def look(status: Status, event: dict[str, Any]) -> None:
            if event.get("state") == "restarting":
                deadline = time.monotonic() + 5
                while (pids := processes.marked(status.id)) and time.monotonic() < deadline:
                    time.sleep(0.01)
                left.append(len(pids))
                os.kill(os.getpid(), signal.SIGTERM)

        status.listeners.append(look)
        with pytest.raises(EndAskedError):
            watch_and_kill("worker", 1)(running, status)
        return left[0]

    worker = service("worker", "sleep 61 & sleep 61 & wait", essential=False, restarts=1)
    assert in_child(lambda: scene.run([worker], then)) == 0


def test_other_nodes_are_told_whether_a_service_is_ready(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    told = tmp_path / "ready"
    told.write_text("of an earlier session\n")
    master = service("master", restarts=1, ready_file=told)

    def scenario() -> list[tuple[str, str]]:
        seen = []

        def then(running: Supervisor, status: Status) -> None:
            seen.append(("ready", told.read_text()))
            status.listeners.append(
                lambda status, event: (
                    seen.append((event["state"], told.read_text())) if event["state"] in ("starting", "ready") else None
                )
            )
            watch_and_kill("master", 2)(running, status)

        assert outcome(scene, [master], then)[1] == 5
        return seen

    assert in_child(scenario) == [("ready", "ready\n"), ("starting", ""), ("ready", "ready\n")]


def test_a_background_service_never_matters(scene: Scene, in_child: InChild) -> None:
    def then(running: Supervisor, status: Status) -> None:
        assert "builder" in status.services
        assert status.services["builder"].state == "waiting", "it starts when the session is ready"

        def end(status: Status, event: dict[str, Any]) -> None:
            if event.get("service") == "builder" and event["state"] == "failed":
                os.kill(os.getpid(), signal.SIGINT)

        status.listeners.append(end)
        running.watch()

    services = [service("builder", "exit 3", essential=False, background=True), service("jupyter")]
    assert in_child(lambda: outcome(scene, services, then)) == (
        "signal SIGINT",
        130,
        ["waiting", "starting", "failed", "ended"],
    )


def test_a_background_service_is_started_again_as_often_as_it_may(scene: Scene, in_child: InChild) -> None:
    """As a Spark Connect server, without which the session goes on."""

    def then(running: Supervisor, status: Status) -> None:
        def end(status: Status, event: dict[str, Any]) -> None:
            if event.get("service") == "builder" and event["state"] == "failed":
                assert status.services["builder"].restarts == 1
                os.kill(os.getpid(), signal.SIGINT)

        status.listeners.append(end)
        running.watch()

    services = [service("builder", "exit 3", essential=False, background=True, restarts=1), service("jupyter")]
    assert in_child(lambda: outcome(scene, services, then)) == (
        "signal SIGINT",
        130,
        ["waiting", "starting", "restarting", "starting", "failed", "ended"],
    )


@pytest.mark.parametrize(
    ("script", "learnt"),
    [("echo a note; echo 1790000000", 1790000000.0), ("echo NONE", None), ("echo 1790000000; exit 1", None)],
)
def test_the_end_of_the_job_is_learnt_from_who_tells_it(
    scene: Scene, in_child: InChild, script: str, learnt: float | None
) -> None:
    def scenario() -> float | None:
        known: list[float | None] = []

        def then(running: Supervisor, status: Status) -> None:
            def end(status: Status, event: dict[str, Any]) -> None:
                if event.get("service") == "asks" and event["state"] in ("ended", "failed"):
                    known.append(status.ends_at)
                    os.kill(os.getpid(), signal.SIGTERM)

            status.listeners.append(end)
            running.watch()

        asks = service("asks", script, essential=False, background=True, tells_end=True)
        outcome(scene, [asks, service("jupyter")], then)
        return known[0]

    assert in_child(scenario) == learnt


@pytest.mark.parametrize("role", [{"background": True, "essential": False}, {"essential": False, "restarts": 3}])
def test_what_is_not_essential_and_never_gets_ready_does_not_end_a_session_that_works(
    scene: Scene, in_child: InChild, tmp_path: Path, role: dict[str, Any]
) -> None:
    """As a worker that was killed and does not come back."""
    ready = tmp_path / "ready"
    ready.touch()

    def then(running: Supervisor, status: Status) -> None:
        ready.unlink()
        if not role.get("background"):
            os.kill(status.services["worker"].pid or 0, signal.SIGKILL)
        signal.setitimer(signal.ITIMER_REAL, 1)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        running.watch()

    worker = service("worker", ready=Exists(ready), ready_seconds=0.2, **role)
    why, _, _ = in_child(lambda: outcome(scene, [worker, service("jupyter")], then))
    assert why == "signal SIGTERM"

"""The supervisor ends a session: every way to ask for it, and nothing that is left behind."""

import os
import signal
import time
from pathlib import Path

import pytest

from ood_runtime import kernel, processes, session
from ood_runtime.failures import describe
from ood_runtime.signals import SIGNALS
from ood_runtime.status import Status
from ood_runtime.supervisor import EndAskedError, Supervisor
from tests.unit.calls import InChild
from tests.unit.scene import IGNORE, STAY, Exists, Scene, nothing, outcome, service, watch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2])
@pytest.mark.parametrize("when", ["start", "watch"])
def test_signals_end_a_session(scene: Scene, in_child: InChild, number: signal.Signals, when: str) -> None:
    ready = None if when == "watch" else Exists(Path("/nonexistent"))

    def scenario() -> tuple[str, int, list[str]]:
        parent = os.getpid()
        if os.fork() == 0:
            time.sleep(0.3)
            os.kill(parent, number)
            os._exit(0)
        return outcome(scene, [service("web", ready=ready)], watch)

    why, exit_status, states = in_child(scenario)
    assert (why, exit_status) == (f"signal {number.name}", 128 + number)
    assert states[-1] == "ended"


def test_a_signal_before_the_start_is_not_lost(scene: Scene, in_child: InChild) -> None:
    def scenario() -> tuple[str, int, list[str]]:
        SIGNALS.install()
        os.kill(os.getpid(), signal.SIGTERM)
        return outcome(scene, [service("web", ready=Exists(Path("/nonexistent")))], nothing)

    assert in_child(scenario)[:2] == ("signal SIGTERM", 143)


def test_the_stop_file_ends_a_session_at_once_when_woken(scene: Scene, in_child: InChild) -> None:
    def scenario() -> tuple[tuple[str, int, list[str]], float]:
        asked = 0.0

        def then(running: Supervisor, status: Status) -> None:
            nonlocal asked
            session.ask_to_stop(scene.root)
            os.kill(os.getpid(), signal.SIGUSR1)
            asked = time.monotonic()
            try:
                running.watch()
            finally:
                asked = time.monotonic() - asked

        return outcome(scene, [service("web")], then), asked

    (why, exit_status, _), seconds = in_child(scenario)
    assert (why, exit_status) == ("ood-runtime stop", 0)
    assert seconds < 0.5


def test_the_stop_file_alone_is_enough(scene: Scene, in_child: InChild) -> None:
    def then(running: Supervisor, status: Status) -> None:
        session.ask_to_stop(scene.root)
        running.watch()

    assert in_child(lambda: outcome(scene, [service("web")], then))[:2] == ("ood-runtime stop", 0)


def test_stop_ends_those_that_left_and_those_that_ignore_before_the_deadline(scene: Scene, in_child: InChild) -> None:
    scene.stop_seconds = 2.0
    script = f'setsid sh -c "{IGNORE}" & setsid setsid sh -c "{IGNORE}" & {IGNORE}'

    def scenario() -> tuple[int, float]:
        def then(running: Supervisor, status: Status) -> int:
            deadline = time.monotonic() + 5
            while len(processes.descendants()) < 4 and time.monotonic() < deadline:
                time.sleep(0.02)
            return len(processes.descendants())

        return scene.run([service("stubborn", script), service("web")], then), scene.seconds_to_stop

    count, seconds = in_child(scenario)
    assert count >= 4
    assert seconds < 2.5


def test_stop_ends_an_orphan_that_has_shed_every_mark(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    """As a daemon that a notebook started: another session, no parent, an empty environment."""
    pid = tmp_path / "pid"
    script = f"(setsid env -i sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60' &); {STAY}"
    in_child(lambda: scene.run([service("web", script, ready=Exists(pid))], nothing))
    assert processes.started_at(int(pid.read_text())) is None


def test_services_end_in_reverse_order(scene: Scene, in_child: InChild, tmp_path: Path) -> None:
    order = tmp_path / "order"
    ready = [tmp_path / name for name in "abc"]
    services = [
        service(
            path.name,
            f"trap 'echo {path.name} >> {order}; exit' TERM; touch {path}; while :; do sleep 0.01; done",
            ready=Exists(path),
        )
        for path in ready
    ]
    in_child(lambda: scene.run(services, nothing))
    assert order.read_text().split() == ["c", "b", "a"]


def test_stop_is_quick_when_everybody_ends_at_once(scene: Scene, in_child: InChild) -> None:
    """A scheduler signals all processes of a job, not only the first."""
    services = [service(name) for name in ("a", "b", "c")]
    scene.stop_seconds = 2.0

    def scenario() -> float:
        def then(running: Supervisor, status: Status) -> None:
            processes.send(processes.descendants(), signal.SIGTERM)

        scene.run(services, then)
        return scene.seconds_to_stop

    assert in_child(scenario) < 0.8


def test_stop_is_quick_when_the_signal_reached_everybody(scene: Scene, in_child: InChild) -> None:
    scene.stop_seconds = 2.0

    def scenario() -> float:
        def then(running: Supervisor, status: Status) -> None:
            processes.send([*processes.descendants(), os.getpid()], signal.SIGTERM)
            time.sleep(0.1)
            with pytest.raises(EndAskedError):
                running.watch()

        scene.run([service("a"), service("b")], then)
        return scene.seconds_to_stop

    assert in_child(scenario) < 0.8


def test_stopping_twice_is_stopping_once(scene: Scene, in_child: InChild) -> None:
    def scenario() -> list[str]:
        scene.run([service("web")], lambda running, status: running.stop())
        return scene.states("web")

    assert in_child(scenario) == ["starting", "ready", "stopping", "ended"]


def test_services_end_when_the_supervisor_is_killed(scene: Scene, in_child: InChild) -> None:
    def scenario() -> tuple[int, list[int]]:
        kernel.adopt_orphans()
        read_end, write_end = os.pipe()
        killed = os.fork()
        if killed == 0:

            def tell_and_stay(running: Supervisor, status: Status) -> None:
                os.write(write_end, b"%d" % (status.services["web"].pid or 0))
                time.sleep(60)

            scene.run([service("web")], tell_and_stay)
        web = int(os.read(read_end, 20))
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        _, status = os.waitpid(web, 0)
        return os.waitstatus_to_exitcode(status), processes.descendants()

    assert in_child(scenario) == (-9, [])


def test_notices_are_told_once(scene: Scene, in_child: InChild) -> None:
    def scenario() -> list[str]:
        def then(running: Supervisor, status: Status) -> list[str]:
            for _ in range(3):
                running.notice("java 25 is new")
            return status.notices

        notices: list[str] = scene.run([service("web")], then)
        return notices

    assert in_child(scenario) == ["java 25 is new"]


def test_exit_statuses_in_words() -> None:
    assert describe(0) == "exit status 0"
    assert describe(-15) == "signal SIGTERM"
    assert "memory" in describe(-9)


def test_an_idle_watch_costs_nothing(scene: Scene, in_child: InChild) -> None:
    """Less than half a percent of a core is promised; here a second takes less than 20 ms."""

    def scenario() -> float:
        def then(running: Supervisor, status: Status) -> float:
            began = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, 1)
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
            with pytest.raises(EndAskedError):
                running.watch()
            return time.process_time() - began

        return float(scene.run([service("web")], then))

    assert in_child(scenario) < 0.02

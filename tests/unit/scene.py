"""A supervisor on a small stage: real programs, in a child of the test that plays the supervisor."""

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood_runtime import processes
from ood_runtime.errors import OodRuntimeError
from ood_runtime.plan import Plan
from ood_runtime.service import Answer, Service
from ood_runtime.session import Session
from ood_runtime.signals import SIGNALS
from ood_runtime.status import Status
from ood_runtime.supervisor import EndAskedError, Supervisor

STAY = "exec sleep 60"
IGNORE = "trap '' TERM; while :; do sleep 0.1; done"


@dataclass(frozen=True)
class Exists:
    """Ready as soon as this file is there."""

    path: Path
    detail: str = "the file is not there"

    def __call__(self, pids: Collection[int]) -> Answer:
        return Answer(ready=self.path.exists(), detail="" if self.path.exists() else self.detail)


@dataclass(frozen=True)
class Runs:
    """Ready as soon as it runs."""

    def __call__(self, pids: Collection[int]) -> Answer:
        return Answer(ready=bool(pids))


def service(name: str, script: str = STAY, **values: Any) -> Service:
    return Service(**{"name": name, "argv": ("/bin/sh", "-c", script), "ready": Runs(), "ready_seconds": 5.0, **values})


@dataclass
class Scene:
    """A session in the child that plays the supervisor, and what it has told."""

    root: Path
    scratch: Path
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin", "HOME": "/"})
    stop_seconds: float = 4.0
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds_to_stop: float = 0.0

    def states(self, name: str) -> list[str]:
        found = [event["state"] for event in self.events if event.get("service") == name]
        return [state for i, state in enumerate(found) if i == 0 or found[i - 1] != state]

    def run(self, services: Collection[Service], then: Callable[[Supervisor, Status], Any]) -> Any:
        """Start ``services``, do ``then``, stop; always checks that no child is left."""
        SIGNALS.install()
        with Session(self.root, "app", self.scratch) as used:
            status = Status(self.root, used.id, "app", "localhost")
            status.listeners.append(lambda status, event: self.events.append(event))
            running = Supervisor(used, status, self.environment, self.stop_seconds)
            try:
                with running:
                    running.start(Plan(services=tuple(services)))
                    answer = then(running, status)
                    began = time.monotonic()
                    running.stop()
                    self.seconds_to_stop = time.monotonic() - began
            finally:
                left = [*processes.descendants(), *processes.marked(used.id)]
                assert not left, f"left: {left}"
        return answer


def nothing(running: Supervisor, status: Status) -> None:
    """Just start and stop."""


def watch(running: Supervisor, status: Status) -> None:
    running.watch()


def kill_when_ready(
    name: str, times: int, number: signal.Signals = signal.SIGKILL
) -> Callable[[Status, dict[str, Any]], None]:
    """Listener of a status: kill the service ``times`` times, each time that it is ready."""
    killed = 0

    def listen(status: Status, event: dict[str, Any]) -> None:
        nonlocal killed
        if event.get("service") == name and event["state"] == "ready" and killed < times:
            killed += 1
            os.kill(status.services[name].pid or 0, number)

    return listen


def watch_and_kill(
    name: str, times: int, number: signal.Signals = signal.SIGKILL
) -> Callable[[Supervisor, Status], None]:
    def then(running: Supervisor, status: Status) -> None:
        listener = kill_when_ready(name, times, number)
        status.listeners.append(listener)
        listener(status, {"service": name, "state": "ready"})
        running.watch()

    return then


def outcome(
    scene: Scene, services: Collection[Service], then: Callable[[Supervisor, Status], Any]
) -> tuple[str, int, list[str]]:
    """How a watch ended: the error, its exit status, and the states of the first service."""
    first = next(iter(services)).name
    try:
        scene.run(services, then)
    except (EndAskedError, OodRuntimeError) as error:
        return str(error), error.exit_status, scene.states(first)
    return "", 0, scene.states(first)

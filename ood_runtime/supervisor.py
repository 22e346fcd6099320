"""Start the services of a plan, watch them, end them.

One loop, in one thread, acts on what happened: a child ended, a signal came, a probe is due. Signal handlers
only take note, so that a signal is safe at any moment.
"""

import os
import signal
import time
from collections.abc import Mapping
from types import TracebackType

from ood_runtime import failures, kernel, logs, ports, processes
from ood_runtime.checks import Checks
from ood_runtime.gate import open_wide, tell
from ood_runtime.memory_kills import REMEDY, MemoryKills
from ood_runtime.plan import Plan
from ood_runtime.running import Running
from ood_runtime.service import Answer
from ood_runtime.session import Session, stop_asked
from ood_runtime.signals import SIGNALS
from ood_runtime.spawn import spawn
from ood_runtime.status import Status

_PROBE_SECONDS = 0.03  # between two looks at a service that is not ready
_TICK_SECONDS = 1.0  # between two looks for a request to stop
_BACKOFF_SECONDS = 2.0  # before the second restart of a service; doubles with each


class EndAskedError(Exception):
    """Somebody wants the session to end: by a signal, by ``ood-runtime stop``, or from Jupyter's menu."""

    def __init__(self, why: str, exit_status: int) -> None:
        super().__init__(why)
        self.why = why
        self.exit_status = exit_status


class PortLostError(Exception):
    """Another program listens on a port that was meant for one of our services."""


class Supervisor:
    """Starts services side by side, each as soon as what it waits for is ready; ends all that it started.

    ``spared`` is a child of this process that is none of the session's, and not to be ended with it.
    ``lives_with`` are processes whose end is the session's end too, and what they are.
    """

    def __init__(
        self,
        session: Session,
        status: Status,
        environment: Mapping[str, str],
        stop_seconds: float,
        spared: int | None = None,
        lives_with: Mapping[int, str] | None = None,
    ) -> None:
        self._session = session
        self._status = status
        self._environment = session.environment(environment)
        self._stop_seconds = stop_seconds
        self._running: dict[str, Running] = {}
        self._checks = Checks((), session.root, status)
        self._spared = spared
        self._lives_with = {(pid, processes.started_at(pid)): what for pid, what in (lives_with or {}).items()}
        self._memory = MemoryKills()
        self._published = False
        self._next_tick = 0.0

    def __enter__(self) -> "Supervisor":
        kernel.adopt_orphans()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, plan: Plan) -> None:
        """Start the services of ``plan`` and come back when all of them are ready.

        Raises PortLostError, NotReadyError, ServiceDiedError, MissingError or EndAskedError.
        """
        self._published = False
        for notice in plan.notices:
            self.notice(notice)
        now = time.monotonic()
        self._running = {
            service.name: Running(service, not_before=now + service.head_start) for service in plan.services
        }
        for name, running in self._running.items():
            self._status.service(name, "waiting", background=running.service.background)
        self._checks = Checks(plan.checks, self._session.root, self._status)
        while True:
            for running in self._foreground():
                self._advance(running)
            self._checks.before(self._names("ready"), self._names("given_up"))
            if self._checks.all_ready() and all(running.settled for running in self._foreground()):
                return
            self._turn(_PROBE_SECONDS)

    def watch(self) -> None:
        """Stay until the session ends; only ever left by an exception, as ``start`` is."""
        self._published = True
        while True:
            for running in self._running.values():
                self._advance(running)
            self._checks.after(self._names("given_up"))
            settled = all(running.settled for running in self._running.values())
            self._turn(_TICK_SECONDS if settled else _PROBE_SECONDS)

    def check(self) -> None:
        """Act on what happened up to now: raises what ``start`` raises."""
        self._turn(0)

    def notice(self, message: str) -> None:
        """Tell something once that people should know."""
        self._status.notice_once(message)

    def stop(self) -> None:
        """End all services in reverse order, and every process that descends from them, before the deadline."""
        deadline = time.monotonic() + self._stop_seconds
        for running in self._running.values():
            if running.process is not None and running.service.remote:  # they clear up by themselves
                processes.send_group(running.process.pid, running.service.stop_signal)
        parted = self._part()
        for running in reversed(self._running.values()):
            if running.process is None:
                continue
            self._status.service(running.service.name, "stopping")
            if not running.service.remote:
                processes.send_group(running.process.pid, running.service.stop_signal)
            # The last to start (Jupyter) gets the most time: its kernels write history and close files.
            self._wait_for_end(running, until=time.monotonic() + (deadline - time.monotonic()) / 2)
        processes.await_end(lambda: parted, seconds=deadline - 1.0 - time.monotonic())
        left = processes.end(self._remains, seconds=max(1.0, deadline - time.monotonic()))
        processes.end(lambda: processes.marked(self._session.id), seconds=1.0)
        for name, running in self._running.items():
            running.process = None
            self._status.service(name, "ended", pid=None, detail="")
        if left:
            self._status.tell({"event": "left", "pids": left})
        self._checks.end()
        self._running = {}

    def _part(self) -> list[int]:
        """Tell those who have something to write down, also where the service that had started them is gone."""
        every = [running.service.parting for running in self._running.values()]
        return processes.send_named(self._remains(), dict(pair for parting in every for pair in parting.items()))

    def _remains(self) -> list[int]:
        return [pid for pid in processes.descendants() if pid != self._spared]

    def _foreground(self) -> list[Running]:
        return [running for running in self._running.values() if not running.service.background]

    def _names(self, quality: str) -> list[str]:
        return [name for name, running in self._running.items() if getattr(running, quality)]

    def _advance(self, running: Running) -> None:
        """Bring one service a step further: start it, or look whether it is ready."""
        if running.settled:
            return
        if running.process is None:
            if self._may_start(running):
                self._spawn(running)
        elif self._may_look(running):
            self._look(running, running.process.pid)

    def _look(self, running: Running, pid: int) -> None:
        running.look_at = time.monotonic() + running.service.probe_seconds
        probe = running.service.ready
        answer = probe(processes.Family(pid)) if probe else Answer(ready=True)
        running.detail = answer.detail
        if answer.ready:
            running.ready = True
            self._tell_others(running)
            self._status.service(running.service.name, "ready" if probe else "running", detail=answer.detail)
        elif answer.port_lost and not self._published:
            raise PortLostError(answer.detail)
        elif time.monotonic() - running.started > running.service.ready_seconds:
            self._too_late(running)
        else:
            self._status.service(running.service.name, "starting", detail=answer.detail)

    def _too_late(self, running: Running) -> None:
        if not self._published or (running.service.essential and not running.service.background):
            raise failures.not_ready(self._session.root, running.service, running.detail)
        if running.process is not None:  # its end is seen by the loop, which starts it again or does without it
            processes.send_group(running.process.pid, signal.SIGKILL)

    def _may_start(self, running: Running) -> bool:
        waits = running.service.gate is None and self._waits(running)
        return not waits and time.monotonic() >= running.not_before

    def _waits(self, running: Running) -> bool:
        return any(not self._running[name].ready for name in running.service.after)

    def _may_look(self, running: Running) -> bool:
        """Whether it is time to look: it waits for nothing any more, and was not looked at just now."""
        gate = running.service.gate
        if not running.let_go:
            running.let_go = gate is None or (not self._waits(running) and open_wide(gate))
        late = time.monotonic() - running.started > running.service.ready_seconds
        return late or (running.let_go and time.monotonic() >= running.look_at)

    def _spawn(self, running: Running) -> None:
        service = running.service
        if service.gate is not None:
            service.gate.unlink(missing_ok=True)
        self._tell_others(running)
        log = logs.open_for_service(self._session.root / service.log, needed=not self._published)
        try:
            running.process = spawn(service, self._environment, log)
        finally:
            os.close(log)
        running.started = time.monotonic()
        self._status.service(service.name, "starting", pid=running.process.pid)

    def _tell_others(self, running: Running) -> None:
        if running.service.ready_file is not None:
            tell(running.service.ready_file, running.ready, needed=not self._published)

    def _turn(self, seconds: float) -> None:
        """Wait up to ``seconds`` for something to happen, and act on it."""
        SIGNALS.wait(seconds)
        ended = processes.reap()
        if SIGNALS.asked:
            self._forget(ended)
            number = SIGNALS.asked
            raise EndAskedError(f"signal {signal.Signals(number).name}", 128 + number)
        for running in self._running.values():
            if running.process and running.process.pid in ended:
                self._ended(running, ended[running.process.pid])
        if SIGNALS.woken or time.monotonic() >= self._next_tick:
            SIGNALS.woken = False
            self._next_tick = time.monotonic() + _TICK_SECONDS
            self._tick()

    def _tick(self) -> None:
        if told := self._memory.lately():
            self.notice(f"{told}; {REMEDY}")
        if SIGNALS.stop_asked or stop_asked(self._session.root):
            raise EndAskedError("ood-runtime stop", 0)
        for (pid, began), what in self._lives_with.items():
            if processes.started_at(pid) != began:
                raise EndAskedError(f"{what} has ended", 0)

    def _ended(self, running: Running, status: int) -> None:
        """A service's process has ended: start it again, do without it, or end the session."""
        service, process = running.service, running.process
        if process is None:
            return
        process.returncode = status  # reaped here, not by subprocess
        processes.send_group(process.pid, signal.SIGKILL)
        running.process, running.ready, running.let_go = None, False, False
        self._checks.look_soon()
        if service.background and running.restarts >= service.restarts:
            running.given_up = True
            said = logs.tail(self._session.root / service.log, 1)
            if service.tells_end and status == 0 and said and said[0].isdecimal():
                self._status.ends_at = float(said[0])
            state, detail = ("failed", failures.describe(status)) if status else ("ended", "")
            self._status.service(service.name, state, pid=None, detail=detail)
            return
        if not self._published and any(map(_taken, service.ports)):
            raise PortLostError(f"another program took a port of {service.name}")
        if self._published and service.essential and status == 0:
            raise EndAskedError(f"{service.name} was shut down", 0)
        if self._published and running.restarts < service.restarts:
            self._restart_later(running, status)
        elif service.essential or not (self._published or service.remote):
            raise failures.died(self._session.root, service, status, self._memory.lately())
        else:
            running.given_up = True
            self._status.service(service.name, "failed", pid=None, detail=failures.describe(status))

    def _restart_later(self, running: Running, status: int) -> None:
        # A launcher may have ended because the job does, of which we hear in a moment.
        waits = running.restarts or running.service.remote
        wait = _BACKOFF_SECONDS * 2 ** (running.restarts - 1) if waits else 0.0
        running.restarts += 1
        running.not_before = time.monotonic() + wait
        self._status.service(
            running.service.name, "restarting", pid=None, restarts=running.restarts, detail=failures.describe(status)
        )

    def _wait_for_end(self, running: Running, until: float) -> None:
        while running.process and time.monotonic() < until:
            self._forget(processes.reap())
            if running.process is not None:
                time.sleep(0.01)

    def _forget(self, ended: Mapping[int, int]) -> None:
        """Note which services have ended, now that all of them shall."""
        for running in self._running.values():
            if running.process is not None and running.process.pid in ended:
                running.process.returncode = ended[running.process.pid]
                running.process = None


def _taken(port: int) -> bool:
    """Whether somebody listens there who is none of ours, such as a child that a dead service has left."""
    found = ports.listeners(port)
    return bool(found) and not ports.ours(found, processes.descendants())

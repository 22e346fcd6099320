"""What a session tells about itself while it lives: status.json, events.jsonl and whoever listens.

status.json is what the portal's card shows; it is replaced whole at every change. events.jsonl gets one
line for every change. Neither ever holds a secret.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ood_runtime.errors import OodRuntimeError
from ood_runtime.private_files import write
from ood_runtime.session import EVENTS, STATUS

STARTING, READY, STOPPING, ENDED, FAILED = "starting", "ready", "stopping", "ended", "failed"

# Seconds between two writes of what is used of a cluster, and how many more for each worker.
_PAUSE, _PAUSE_FOR_EACH = 2.0, 0.02

Listener = Callable[["Status", dict[str, Any]], None]


@dataclass
class ServiceStatus:
    """One service or check; times are Unix seconds.

    ``state`` is waiting, starting, running, ready, restarting, ended or failed. What is running is proven by a check.
    """

    name: str
    state: str = "waiting"
    detail: str = ""
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    log: str = ""
    background: bool = False


@dataclass
class Status:
    """The state of one session; ``tell`` writes it down and passes it on."""

    directory: Path
    id: str
    app: str
    host: str
    state: str = STARTING
    message: str = "preparing"
    started_at: float = field(default_factory=time.time)
    ready_at: float | None = None
    ended_at: float | None = None
    ends_at: float | None = None
    pid: int = field(default_factory=os.getpid)
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    workers: dict[str, Any] | None = None
    applications: Sequence[Mapping[str, Any]] = ()
    notices: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    listeners: list[Listener] = field(default_factory=list)
    _unwritten: bool = False
    _write_at: float = 0.0

    def phase(self, state: str, message: str) -> None:
        """Enter another phase of the session's life."""
        self.state, self.message = state, message
        if state == READY and self.ready_at is None:
            self.ready_at = time.time()
        if state in (ENDED, FAILED):
            self.ended_at = time.time()
        self.tell({"event": state, "message": message})

    def service(self, name: str, state: str, **changes: Any) -> None:
        """Note that service ``name`` has entered ``state``."""
        service = self.services.setdefault(name, ServiceStatus(name, log=f"logs/{name}.log"))
        changed = service.state != state or any(getattr(service, key) != changes[key] for key in changes)
        if not changed:
            return
        service.state = state
        for key, value in changes.items():
            setattr(service, key, value)
        service.since = time.time()
        self.tell({"event": "service", "service": name, "state": state, **changes})

    def notice(self, message: str) -> None:
        """Tell something that people should know, and that changes nothing."""
        self.notices.append(message)
        self.tell({"event": "notice", "message": message})

    def notice_once(self, message: str) -> None:
        """The same, unless it was told before."""
        if message not in self.notices:
            self.notice(message)

    def cluster(self, workers: dict[str, Any], applications: Sequence[Mapping[str, Any]]) -> None:
        """Note what the cluster has, what is used of it, and by whom.

        That changes with every executor: it is no event, and is written now and then, the less often the longer it is.
        """
        if (workers, applications) != (self.workers, self.applications):
            self.workers, self.applications, self._unwritten = workers, applications, True
        if self._unwritten and time.monotonic() >= self._write_at:
            with suppress(OSError):
                self._write()

    def fail(self, error: OodRuntimeError) -> None:
        """End with ``error``, in words."""
        self.error = _as_dict(error)
        self.phase(FAILED, error.what)

    def tell(self, event: dict[str, Any]) -> None:
        """Write the state down and pass the change on; a full disk must not end a session that works."""
        with suppress(OSError):
            self._write()
            with _append(self.directory / EVENTS) as file:
                file.write(json.dumps({"time": time.time(), **event}) + "\n")
        for listener in self.listeners:
            listener(self, event)

    def _write(self) -> None:
        write(self.directory / STATUS, json.dumps(self.as_dict(), indent=1))
        self._unwritten = False
        self._write_at = time.monotonic() + _PAUSE + _PAUSE_FOR_EACH * len((self.workers or {}).get("each", ()))

    def as_dict(self) -> dict[str, Any]:
        """The state as it stands in status.json."""
        now = time.time()
        return {
            "version": 1,
            "id": self.id,
            "app": self.app,
            "state": self.state,
            "message": self.message,
            "host": self.host,
            "pid": self.pid,
            "started_at": self.started_at,
            "ready_at": self.ready_at,
            "ended_at": self.ended_at,
            "ends_at": self.ends_at,
            "updated_at": now,
            "services": [asdict(service) for service in self.services.values()],
            "workers": self.workers,
            "applications": self.applications,
            "notices": self.notices,
            "error": self.error,
        }


def mark_failed(directory: Path, error: OodRuntimeError) -> None:
    """Say in status.json why the session ended, when its supervisor can no longer say it."""
    now = time.time()
    try:
        state = json.loads((directory / STATUS).read_text())
        for service in state["services"]:
            service |= {"state": "ended", "pid": None}
        state |= {"state": FAILED, "message": error.what, "error": _as_dict(error), "ended_at": now, "updated_at": now}
        write(directory / STATUS, json.dumps(state, indent=1))
        with _append(directory / EVENTS) as file:
            file.write(json.dumps({"time": now, "event": FAILED, "message": error.what}) + "\n")
    except (OSError, ValueError, KeyError):
        return  # there was no status yet, or the disk is full


def _as_dict(error: OodRuntimeError) -> dict[str, Any]:
    return {"what": error.what, "remedy": error.remedy, "log": error.log, "exit_status": error.exit_status}


def _append(path: Path) -> Any:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "a")

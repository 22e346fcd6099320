"""What ``start`` shows while it works: on a terminal a line that changes, in a job's output one line a phase."""

import sys
import time
from typing import TextIO

from ood_runtime.status import READY, STARTING, Status

_MARKS = {
    "waiting": "·",
    "starting": "…",
    "ready": "✓",
    "running": "✓",
    "restarting": "↻",
    "stopping": "…",
    "ended": "·",
    "failed": "✗",
}


class Progress:
    """Told of every change of a session's status; a stream that has gone away is no reason to end a session."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._begin = time.monotonic()
        self._open_line = False

    def __call__(self, status: Status, event: dict[str, object]) -> None:
        """Show one change."""
        kind = event.get("event")
        if kind == "service" and not status.services[str(event["service"])].background:
            self._service(status, str(event["service"]), str(event["state"]), str(event.get("detail") or ""))
        elif kind == "notice":
            self._line(f"note: {event['message']}")
        elif kind in (STARTING, READY, "stopping", "ended"):
            self._line(str(event["message"]))

    def _service(self, status: Status, name: str, state: str, detail: str) -> None:
        if self._terminal and status.state == STARTING:
            parts = (
                f"{service.name} {_MARKS.get(service.state, ' ')}"
                for service in status.services.values()
                if not service.background
            )
            self._write(f"\r\x1b[K[{self._elapsed()}] {'   '.join(parts)}")
            self._open_line = True
            return
        if state == "ready" or (status.state == READY and state in ("restarting", "failed")):
            self._line(f"{name} {state}" + (f": {detail}" if detail else ""))

    def _line(self, text: str) -> None:
        begin = "\n" if self._open_line else ""
        self._open_line = False
        self._write(f"{begin}ood-runtime [{self._elapsed()}] {text}\n")

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._begin:6.2f} s"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return

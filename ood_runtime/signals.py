"""Signals: handlers only take note and wake the loop, so that a signal is safe at any moment."""

import select
import signal
import socket
from types import FrameType

# SIGUSR2 is what Grid Engine sends ahead of SIGKILL to jobs submitted with -notify (queue_conf(5)).
END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
# From `ood-runtime stop` on the same node; also a usual choice for a warning ahead of the wall time's end.
STOP_SIGNAL = signal.SIGUSR1


def heard() -> list[signal.Signals]:
    """The signals that end a session; not those that are ignored already, as SIGHUP is under nohup."""
    return [number for number in END_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


class _Signals:
    """Notes that a signal came, and wakes the loop. Installed once, before anything is started."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.woken = False
        self.stop_asked = False
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)

    def install(self) -> None:
        """Take note of the signals that end a session, and of children that end."""
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only wakes the loop
        signal.signal(STOP_SIGNAL, self._note_stop)
        for number in heard():
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> None:
        """Wait until a signal comes, or ``seconds`` have passed."""
        if self.asked is None and select.select([self._read], [], [], seconds)[0]:
            self._read.recv(4096)
            self.woken = True

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_asked = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or number


SIGNALS = _Signals()

"""Processes: which belong to a session, and how to end every one of them.

A process belongs to a session when it descends from the session's supervisor, or carries the session's
identifier in its environment. The second finds what was orphaned by the death of its parents.
"""

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import psutil

MARK = "OOD_RUNTIME_SESSION"
# Beside it, for what runs programs on other nodes, and clears up there when it is asked to end.
REMOTE = "OOD_RUNTIME_REMOTE"


def tree(pid: int) -> list[int]:
    """``pid`` and all its descendants that are alive now."""
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


class Family(Collection[int]):
    """What ``tree`` tells, looked up only when it is used: that reads every process of the node."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @cached_property
    def _pids(self) -> list[int]:
        return tree(self._pid)

    def __iter__(self) -> Iterator[int]:
        return iter(self._pids)

    def __len__(self) -> int:
        return len(self._pids)

    def __contains__(self, pid: object) -> bool:
        return pid in self._pids


def descendants() -> list[int]:
    """All descendants of this process."""
    return tree(os.getpid())[1:]


def ancestor(name: str) -> int | None:
    """The nearest ancestor of this process that is called so, if there is one that we may see."""
    try:
        return next((process.pid for process in psutil.Process().parents() if process.name() == name), None)
    except psutil.Error:
        return None


def marked(identifier: str, name: str = MARK) -> list[int]:
    """Our own processes on this node that carry ``identifier`` in their environment as ``name``, but for this one."""
    mark = f"{name}={identifier}".encode()
    return [
        pid for pid in psutil.pids() if pid != os.getpid() and mark in _environment(pid).split(b"\0") and alive(pid)
    ]


def end(find: Callable[[], Iterable[int]], seconds: float) -> list[int]:
    """Kill all processes that ``find`` tells, again until it tells none; give what is left after ``seconds``.

    Looks again because a process may start others while it is being ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        reap()
        left = [pid for pid in find() if alive(pid)]
        if not left or time.monotonic() > deadline:
            return left
        send(left, signal.SIGKILL)
        time.sleep(0.01)


def await_end(find: Callable[[], Iterable[int]], seconds: float) -> None:
    """Wait, ``seconds`` at most, until ``find`` tells no process that is alive."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reap()
        if not any(map(alive, find())):
            return
        time.sleep(0.05)


def send(pids: Collection[int], sig: signal.Signals) -> None:
    """Send ``sig`` to each of ``pids`` that still runs."""
    for pid in pids:
        try:
            os.kill(pid, sig)
        except (ProcessLookupError, PermissionError):
            continue


def send_named(pids: Iterable[int], signals: Mapping[str, signal.Signals]) -> list[int]:
    """Send each of ``pids`` the signal that ``signals`` has for the name of its program; give those that got one."""
    told = []
    for pid in pids if signals else ():
        try:
            name = Path(f"/proc/{pid}/comm").read_text().removesuffix("\n")
        except OSError:
            continue
        if name in signals:
            send([pid], signals[name])
            told.append(pid)
    return told


def send_group(leader: int, sig: signal.Signals) -> None:
    """Send ``sig`` to the process group of ``leader``, if there is one."""
    try:
        os.killpg(leader, sig)
    except (ProcessLookupError, PermissionError):
        return


def reap() -> dict[int, int]:
    """Collect all children that have ended: exit statuses by pid; -N for an end by signal N."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def started_at(pid: int) -> int | None:
    """When ``pid`` started, in clock ticks since boot: with the pid it names a process for good."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def alive(pid: int) -> bool:
    """Whether ``pid`` runs: one that has ended and is not reaped yet does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""

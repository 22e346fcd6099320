"""Ports: choosing free ones, holding them until the service listens, and knowing who listens."""

import os
import random
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import sock_diag
from ood_runtime.errors import MissingError

_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables, proc(5)


@dataclass(frozen=True)
class Listener:
    """A socket that listens: its owner, and the inode that its process holds open."""

    port: int
    uid: int
    inode: str


@contextmanager
def hold(names: Iterable[str], lowest: int, highest: int) -> Iterator[dict[str, int]]:
    """Give each of ``names`` a port between ``lowest`` and ``highest`` where nobody listens, at any address.

    Each port stays bound by us while the context lasts. Until our service listens on it, only a program that
    asks for SO_REUSEADDR can still bind it, and our service is one: no gap is left in which the kernel or
    another session could be given the port. Who really listens is checked afterwards with ``ours``.

    Raises MissingError when the range has no free port left.
    """
    held: dict[str, socket.socket] = {}
    try:
        candidates = _shuffled(range(lowest, highest + 1))
        for name in names:
            held[name] = _first_free(candidates, lowest, highest)
        yield {name: sock.getsockname()[1] for name, sock in held.items()}
    finally:
        for sock in held.values():
            sock.close()


def keep(address: str, port: int) -> socket.socket | None:
    """A socket that is bound there and never listens: as long as it is open, nobody can listen there.

    None when there is no such address on this node, or another program was faster.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    # For the moment of binding: `hold` has the port too.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        return None
    # The kernel looks at it once more when another socket that is bound there begins to listen.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return sock


def listeners(port: int | None = None) -> list[Listener]:
    """All sockets that listen on this node, or on ``port``."""
    try:
        found = [Listener(number, uid, str(inode)) for number, uid, inode in sock_diag.listening()]
    except OSError:  # a kernel without that module, or a sandbox that forbids netlink
        found = list(_listeners_in_proc())
    return [listener for listener in found if port in (None, listener.port)]


def _listeners_in_proc() -> Iterator[Listener]:
    """The same from /proc/net/tcp and tcp6 (proc(5))."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # a node without IPv6
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                yield Listener(int(fields[1].rpartition(":")[2], 16), int(fields[7]), fields[9])


def same_user(found: Collection[Listener]) -> bool:
    """Whether somebody listens, and nobody but this user."""
    return bool(found) and all(listener.uid == os.getuid() for listener in found)


def ours(found: Collection[Listener], pids: Iterable[int]) -> bool:
    """Whether all of ``found`` belong to this user and to one of the processes ``pids``."""
    if any(listener.uid != os.getuid() for listener in found):
        return False
    wanted = {f"socket:[{listener.inode}]" for listener in found}
    for pid in pids:
        wanted -= _open_files(pid)
        if not wanted:
            return True
    return not wanted


def _shuffled(numbers: Iterable[int]) -> Iterator[int]:
    """In random order; drawn one by one, since to shuffle thousands takes longer than all else that is done here."""
    left = list(numbers)
    draw = random.Random(os.urandom(16))  # noqa: S311  (a port is no secret)
    while left:
        index = draw.randrange(len(left))
        left[index], left[-1] = left[-1], left[index]
        yield left.pop()


def _first_free(candidates: Iterator[int], lowest: int, highest: int) -> socket.socket:
    for port in candidates:
        if sock := _bind(port):
            return sock
    raise MissingError(
        f"no free port between {lowest} and {highest} on this node",
        remedy="widen ports.min and ports.max",
    )


def _bind(port: int) -> socket.socket | None:
    """Bind ``port`` at every address, exclusively; then let our own service bind it beside us.

    None where anybody has it at any address: both would need SO_REUSEADDR or SO_REUSEPORT, and this one has none yet.
    """
    dual = socket.has_dualstack_ipv6()
    sock = socket.socket(socket.AF_INET6 if dual else socket.AF_INET)
    if dual:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        return None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def _open_files(pid: int) -> set[str]:
    names = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                names.add(os.readlink(entry.path))  # noqa: PTH115  (a Path for each of thousands of files)
            except OSError:
                continue  # closed while we looked
    except OSError:
        return set()  # ended, or not ours
    return names

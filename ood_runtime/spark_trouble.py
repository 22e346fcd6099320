"""What is wrong with single workers of a cluster: word that they left, and what the master no longer hears of."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_SHOWN = 5


@dataclass(frozen=True)
class Trouble:
    """A worker that has ended; ``failed`` when it will not be started again. ``text`` is for people."""

    failed: bool
    text: str


def read(directory: Path) -> dict[int, Trouble]:
    """The trouble that workers on other nodes have left word of in ``directory``, by rank.

    One file each: the node, "restarting" or "failed", and the reason.
    """
    found = {}
    with suppress(OSError):
        for path in sorted(path for path in directory.iterdir() if path.name.isdigit()):
            with suppress(OSError, ValueError):
                name = path.name
                host, state, reason = path.read_text("utf-8", "replace").split("\n", 2)
                what = "failed" if state == "failed" else "is started again"
                text = f"worker {name} on {host} {what}: {reason.strip()} (logs/spark-worker-{name}.log)"
                found[int(name)] = Trouble(state == "failed", text)
    return found


def lost(workers: Iterable[Mapping[str, Any]]) -> list[str]:
    """In words, the nodes that the master has lost all workers of, from what it says of ``workers``."""
    states: dict[str, set[str]] = {}
    for worker in workers:
        states.setdefault(str(worker.get("host")), set()).add(str(worker.get("state")))
    gone = [_name(host) for host, of in states.items() if "DEAD" in of and "ALIVE" not in of]
    more = [f"and {len(gone) - _SHOWN} more"] if len(gone) > _SHOWN else []
    return [f"lost {', '.join([*gone[:_SHOWN], *more])}"] if gone else []


@lru_cache
def _name(address: str) -> str:
    """The node's name, which tells people more than its address."""
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return address

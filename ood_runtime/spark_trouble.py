"""The only place that reads what workers on other nodes leave word of when something is wrong."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


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

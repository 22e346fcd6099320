"""What the tests of all launchers share: a node of known size, programs on PATH, tasks."""

from pathlib import Path

import pytest

from ood_runtime import limits, own_node
from ood_runtime.allocation import Task
from ood_runtime.limits import Limits
from ood_runtime.settings.sizes import GIB

SCRIPT = Path("/home/u/it's $HOME/ood-runtime/spark/worker.sh")


def on_a_node(monkeypatch: pytest.MonkeyPatch, name: str = "elsewhere", cpus: int = 64) -> None:
    """This node is called so, has 64 processors and 64 GiB, and lets us use ``cpus`` of them."""
    monkeypatch.setattr(limits, "here", lambda *, exclusive: Limits(cpus, 64 * GIB))
    monkeypatch.setattr(own_node, "machine", lambda: Limits(64, 64 * GIB))
    monkeypatch.setattr(own_node, "names", lambda env, *names: [*(env[n] for n in names if n in env), name])


def with_program(place: Path, name: str) -> str:
    """A PATH where there is only this program."""
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text("")
    (place / name).chmod(0o755)
    return str(place)


def tasks(first: int, per_node: int, nodes: list[int]) -> list[Task]:
    """Equally many tasks on each of these nodes."""
    places = [node for node in nodes for _ in range(per_node)]
    return [Task(first + index, node) for index, node in enumerate(places)]

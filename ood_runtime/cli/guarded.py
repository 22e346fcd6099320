"""``start`` runs in a guarded child of this process: the guard is what stays smallest, and has to be there first.

The planner loads its libraries while the command line is read.
"""

from dataclasses import dataclass
from typing import NoReturn

from ood_runtime import guard
from ood_runtime.planner import Planner


@dataclass(frozen=True)
class Supervised:
    """What the command ``start`` gets: who plans, and what to tell the guard of."""

    planner: Planner
    announce: guard.Announce


def run() -> NoReturn:
    """Run the command line guarded, and end this process with its exit status."""
    guard.leave(guard.run(_work))


def _work(announce: guard.Announce) -> int:
    with Planner() as planner:
        from ood_runtime.cli import group  # noqa: PLC0415  (the guard does without it)

        group.run(Supervised(planner, announce))
    return 0

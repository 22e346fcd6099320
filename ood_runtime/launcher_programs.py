"""The only place that looks for the program with which a scheduler runs tasks on its nodes."""

import os
import shutil
from collections.abc import Mapping, Sequence

from ood_runtime.errors import MissingError


def find(name: str, environment: Mapping[str, str], beside: Sequence[str], remedy: str) -> str:
    """The absolute path of the program ``name``: on PATH, else in one of the directories ``beside`` of the scheduler.

    Raises MissingError with ``remedy`` when it is in none of them.
    """
    places = [environment.get("PATH", os.defpath), *beside]
    found = next(filter(None, (shutil.which(name, path=place) for place in places if place)), None)
    if found is None:
        also = f", nor in {', '.join(beside)}" if beside else ""
        raise MissingError(
            f"{name}, which starts the workers on the other nodes, is not on PATH ({places[0]}){also}", remedy=remedy
        )
    return os.path.abspath(found)  # noqa: PTH100  (a link keeps its name: some of these programs look at it)

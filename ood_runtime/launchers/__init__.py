"""Launchers: each knows one scheduler. A module here, or an entry point in ``ood_runtime.launchers``.

A launcher answers: is this job yours (``detect``), what were we given (``allocation``), and how is a script run
on the other nodes (``commands``).
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.errors import SettingsError
from ood_runtime.settings import Settings

LOCAL = "local"


class Launcher(Protocol):
    """One scheduler."""

    @property
    def name(self) -> str:
        """What ``launcher:`` in the settings calls it."""
        ...

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Whether this process runs inside a job of this scheduler."""
        ...

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """What the job was given; ``directory`` is the current one. Raises SettingsError when it cannot be told."""
        ...

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """How ``script RANK`` is run for each of ``tasks``, under the scheduler's control.

        The tasks come in the order of their ranks, and equally many on each of their nodes, never on the first one
        of the allocation. Each call stays until its tasks have ended.
        """
        ...


def available() -> dict[str, Launcher]:
    """All launchers by name: the modules of this package, and those of other packages."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    plugins = [point.load() for point in entry_points(group="ood_runtime.launchers")]
    launchers: list[Launcher] = [*(module.LAUNCHER for module in modules), *plugins]
    return {launcher.name: launcher for launcher in launchers}


def choose(name: str | None, environment: Mapping[str, str]) -> Launcher:
    """The launcher called ``name``, or the one whose scheduler runs this job; without a scheduler, ``local``.

    Raises SettingsError when the name is unknown or more than one scheduler is detected.
    """
    launchers = available()
    if name:
        if name not in launchers:
            raise SettingsError(f"launcher: {name} is unknown; there are {', '.join(sorted(launchers))}")
        return launchers[name]
    found = [item for item in launchers.values() if item.name != LOCAL and item.detect(environment)]
    if len(found) > 1:
        names = ", ".join(sorted(launcher.name for launcher in found))
        raise SettingsError(
            f"the environment looks like a job of more than one scheduler: {names}", remedy="set launcher"
        )
    return found[0] if found else launchers[LOCAL]

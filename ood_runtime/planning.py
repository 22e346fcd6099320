"""From a request to a plan: settings, job, software, and what the app makes of them. Has no lasting effect.

Needs libraries that take memory: the process that stays for the whole session has them in a child (``planner``).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ood_runtime import apps, launchers, limits, place, private_files, settings
from ood_runtime.allocation import Launch, Task
from ood_runtime.apps import App
from ood_runtime.context import Context, Software
from ood_runtime.errors import SettingsError, find_all
from ood_runtime.launchers import Launcher
from ood_runtime.plan import Directories, Grant, Outline, Place, Plan
from ood_runtime.request import Request
from ood_runtime.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """Everything about a session that does not depend on what is drawn for it."""

    request: Request
    app: App
    launcher: Launcher
    settings: Settings
    software: Software
    outline: Outline

    def plan(self, directories: Directories, grant: Grant) -> Plan:
        """The plan with these places, ports and secrets."""
        context = Context(
            settings=self.settings,
            allocation=self.outline.allocation,
            software=self.software,
            place=self.outline.place,
            directories=directories,
            grant=grant,
            environment=self.request.environment,
            umask=limits.umask(),
            temporary=private_files.temporary(self.request.environment, directories.temporary),
            launch=self._launch,
            allow_root=self.request.allow_root,
        )
        return self.app.plan(context)

    def _launch(self, script: Path, tasks: Sequence[Task]) -> tuple[Launch, ...]:
        return self.launcher.commands(self.outline.allocation, script, tasks, self.request.environment)


def prepare(request: Request) -> Prepared:
    """Read the settings and look at the job and the node.

    Raises SettingsError or MissingError, each with everything that is wrong at once.
    """
    app = apps.get(request.app)
    loaded = settings.load(request.config_files, request.overrides, request.environment)
    values = loaded.settings
    launcher = launchers.choose(values.launcher, request.environment)
    if launcher.name == launchers.LOCAL and not values.launcher and values.ssh.hosts:  # never inside of a job
        launcher = launchers.choose("ssh", request.environment)
    allocation = launcher.allocation(request.environment, Path.cwd(), values)
    places: list[Place] = []
    scratch: list[tuple[Path, tuple[str, ...]]] = []
    software: list[Software] = []
    find_all(
        lambda: places.append(place.find(values.host, values.address, request.environment)),
        lambda: scratch.append(scratch_base(values.scratch_dir, request.environment)),
        lambda: software.append(app.find(values, request.environment)),
    )
    where = places[0]
    if software[0].spark:
        where = replace(where, cluster=place.cluster_address(values.spark.network, allocation.nodes, where.address))
    outline = Outline(
        app=app.name,
        allocation=allocation,
        place=where,
        session_directory=request.session_directory or allocation.directory,
        scratch_base=scratch[0][0],
        port_names=app.ports,
        port_range=(values.ports.min, values.ports.max),
        secret_names=app.secrets,
        stop_seconds=values.timeouts.stop,
        notices=scratch[0][1],
    )
    return Prepared(request, app, launcher, values, software[0], outline)


def scratch_base(setting: Path | None, environment: Mapping[str, str]) -> tuple[Path, tuple[str, ...]]:
    """Where scratch space goes: the setting, else $TMPDIR, else /tmp; and a notice when $TMPDIR cannot be used.

    Raises SettingsError when the directory of the setting cannot be used.
    """
    fallback = Path("/tmp")  # noqa: S108  (a private directory is made there)
    named = str(setting or environment.get("TMPDIR") or fallback)
    reason = _unusable(Path(named))
    if not reason:
        return Path(named), ()
    if setting:
        raise SettingsError(f"scratch_dir: {named} {reason}")
    return fallback, (f"TMPDIR is {named}, which {reason}: using {fallback}",)


def _unusable(path: Path) -> str:
    if set(",:") & set(str(path)):
        return "has a comma or colon in its name, at which lists of directories are cut"
    if not path.is_absolute() or not path.is_dir():
        return "is no directory"
    return "" if os.access(path, os.W_OK | os.X_OK) else "cannot be written to"

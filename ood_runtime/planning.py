"""From a request to a plan: settings, job, software, and what the app makes of them. Has no lasting effect.

Needs libraries that take memory: the process that stays for the whole session has them in a child (``planner``).
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import apps, launchers, place, settings
from ood_runtime.apps import App
from ood_runtime.context import Context, Software
from ood_runtime.plan import Directories, Grant, Outline, Plan
from ood_runtime.request import Request
from ood_runtime.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """Everything about a session that does not depend on what is drawn for it."""

    request: Request
    app: App
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
            allow_root=self.request.allow_root,
        )
        return self.app.plan(context)


def prepare(request: Request) -> Prepared:
    """Read the settings and look at the job and the node.

    Raises SettingsError or MissingError, each with everything that is wrong at once.
    """
    app = apps.get(request.app)
    loaded = settings.load(request.config_files, request.overrides, request.environment)
    values = loaded.settings
    launcher = launchers.choose(values.launcher, request.environment)
    allocation = launcher.allocation(request.environment, Path.cwd())
    scratch, notices = scratch_base(request.environment)
    outline = Outline(
        app=app.name,
        allocation=allocation,
        place=place.find(values.host, values.address, request.environment),
        session_directory=request.session_directory or allocation.directory,
        scratch_base=scratch,
        port_names=app.ports,
        port_range=(values.ports.min, values.ports.max),
        secret_names=app.secrets,
        stop_seconds=values.timeouts.stop,
        notices=notices,
    )
    software = app.find(values, request.environment)
    return Prepared(request, app, values, software, outline)


def scratch_base(environment: Mapping[str, str]) -> tuple[Path, tuple[str, ...]]:
    """Where scratch space goes: $TMPDIR, or /tmp when that cannot be used; and a notice in that case."""
    named = environment.get("TMPDIR")
    fallback = Path(tempfile.gettempdir() if not named else "/tmp")  # noqa: S108
    if not named:
        return fallback, ()
    path = Path(named)
    if "," in named:
        return fallback, (f"TMPDIR is {named}; Spark takes no comma in it: using {fallback}",)
    if path.is_absolute() and path.is_dir() and os.access(path, os.W_OK | os.X_OK):
        return path, ()
    return fallback, (f"TMPDIR is {named}, which cannot be written to: using {fallback}",)

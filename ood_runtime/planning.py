"""From a request to a plan: settings, job, software, and what the app makes of them. Has no lasting effect.

Needs libraries that take memory: the process that stays for the whole session has them in a child (``planner``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ood_runtime import apps, launchers, limits, place, private_files, scratch, settings
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.apps import App
from ood_runtime.context import Context, Software
from ood_runtime.errors import find_all
from ood_runtime.launchers import Launcher
from ood_runtime.plan import Directories, Grant, Outline, Place, Plan
from ood_runtime.request import Request
from ood_runtime.service import Service
from ood_runtime.settings import Settings
from ood_runtime.tls import Identity, Tls


@dataclass(frozen=True)
class Prepared:
    """Everything about a session that does not depend on what is drawn for it."""

    request: Request
    app: App
    launcher: Launcher
    settings: Settings
    software: Software
    outline: Outline
    tls: Tls | None = None

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
            tls=self.tls,
        )
        plan = self.app.plan(context)
        return replace(plan, services=(*plan.services, *_end_asked(context)))

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
    bases: list[tuple[Path, list[str]]] = []
    software: list[Software] = []
    given: list[Identity | None] = []
    disks = values.spark.worker
    find_all(
        lambda: places.append(place.find(values.host, values.address, request.environment)),
        lambda: bases.append(scratch.base(values.scratch_dir, request.environment, disks.scratch_dirs)),
        lambda: software.append(app.find(values, request.environment)),
        lambda: given.append(_given(values, request.environment)),
    )
    where, (base, notices) = places[0], bases[0]
    local, unusable = scratch.more(disks.local_dirs if software[0].spark else [], request.environment)
    if software[0].spark:
        where = replace(where, cluster=place.cluster_address(values.spark.network, allocation.nodes, where.address))
    tls, doubts = _tls(values, given[0], allocation, where)
    outline = Outline(
        app=app.name,
        allocation=allocation,
        place=where,
        session_directory=request.session_directory or allocation.directory,
        scratch_base=base,
        local_bases=tuple(local),
        port_names=app.ports,
        port_range=(values.ports.min, values.ports.max),
        secret_names=app.secrets,
        stop_seconds=values.timeouts.stop,
        notices=(*notices, *unusable, *doubts),
    )
    return Prepared(request, app, launcher, values, software[0], outline, tls)


def _given(values: Settings, environment: Mapping[str, str]) -> Identity | None:
    """The site's certificate, where the settings name one."""
    if values.tls.mode != "files":
        return None
    from ood_runtime import certificates  # noqa: PLC0415  (tens of milliseconds that nobody else has to wait for)

    return certificates.read(values.tls, environment)


def _tls(
    values: Settings, given: Identity | None, allocation: Allocation, where: Place
) -> tuple[Tls | None, list[str]]:
    """What the session proves itself with, and what should be known of it."""
    if values.tls.mode == "off":
        return None, []
    from ood_runtime import certificates  # noqa: PLC0415

    doubts = certificates.cautions(given, where.host, allocation.ends_at)
    return certificates.for_session(values.tls, given, allocation, where), doubts


def _end_asked(context: Context) -> tuple[Service, ...]:
    """What asks the scheduler for the end of the job, beside a session that is ready: controllers may be slow."""
    if not context.allocation.ask_end:
        return ()
    return (
        Service(
            name="job-end",
            argv=context.allocation.ask_end,
            ready_seconds=60,
            essential=False,
            background=True,
            tells_end=True,
        ),
    )

"""From a request to a plan: settings, job, software, and what the app makes of them. Has no lasting effect.

Needs libraries that take memory: the process that stays for the whole session has them in a child (``planner``).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ood_runtime import (
    apps,
    container,
    container_software,
    environment_changes,
    environment_software,
    launchers,
    limits,
    place,
    private_files,
    scratch,
    settings,
)
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.apps import App
from ood_runtime.container import Container
from ood_runtime.context import Context, Software
from ood_runtime.environment_software import Provided
from ood_runtime.errors import SettingsError, find_all
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
    environment: Mapping[str, str]
    software: Software
    outline: Outline
    container: Container | None = None
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
            environment=self.environment,
            loaded=environment_changes.names(self.request.environment, self.environment),
            umask=limits.umask(),
            temporary=private_files.temporary(self.environment, directories.temporary),
            launch=self._launch,
            allow_root=self.request.allow_root,
            container=self.container,
            tls=self.tls,
        )
        plan = self.app.plan(context)
        return replace(plan, services=(*_entered(context, plan), *_end_asked(context)))

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
    found: list[_Found] = []
    given: list[Identity | None] = []
    disks = values.spark.worker
    find_all(
        lambda: places.append(place.find(values.host, values.address, request.environment)),
        lambda: bases.append(scratch.base(values.scratch_dir, request.environment, disks.scratch_dirs)),
        lambda: found.append(_find(app, values, request.environment, allocation)),
        lambda: given.append(_given(values, request.environment)),
    )
    where, (base, notices), (provided, software, inside) = places[0], bases[0], found[0]
    _check_directory(values.jupyter.root_dir if software.jupyter else None)
    local, unusable = scratch.more(disks.local_dirs if software.spark else [], request.environment)
    if software.spark or values.kernels.mpi.enabled:
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
        notices=(*notices, *unusable, *doubts, *(_of_jupyter(provided, request) if software.jupyter else ())),
        environment=provided.environment if values.environment.loads else None,
    )
    return Prepared(request, app, launcher, provided.settings, provided.environment, software, outline, inside, tls)


def _of_jupyter(provided: Provided, request: Request) -> tuple[str, ...]:
    """What users of Jupyter should know of the environment, and of the portal, whose job scripts export $host."""
    if provided.settings.portal.origin or "host" not in request.environment:
        return provided.notices
    return (
        *provided.notices,
        "portal.origin is not set, without which Jupyter refuses logins through the portal: the site file should have "
        "the portal's address as browsers show it, such as https://ondemand.example.org",
    )


class _Found(NamedTuple):
    """The environment of the settings, the software in it, and the container that this is in, if it is."""

    provided: Provided
    software: Software
    container: Container | None


def _find(app: App, values: Settings, environment: Mapping[str, str], allocation: Allocation) -> _Found:
    provided = environment_software.provide(values, environment)
    if values.environment.container is None:
        return _Found(provided, app.find(provided.settings, provided.environment), None)
    found = container_software.find(values, provided.environment, allocation)
    return _Found(provided, container_software.ask(found, app.name, values, provided.environment), found)


def _check_directory(root: Path | None) -> None:
    """Raise SettingsError where people would find themselves in another directory than the one they have asked for."""
    if root and not os.path.isdir(root):  # noqa: PTH112  (Path raises where a name is too long, or rights are missing)
        raise SettingsError(
            f"jupyter.root_dir: {root} is no directory that you can use on this node",
            remedy="name one that is there, or leave it out for your home directory",
        )


def _entered(context: Context, plan: Plan) -> tuple[Service, ...]:
    """The services, in the container if there is one; what calls other nodes calls from this one."""
    if context.container is None:
        return plan.services
    places, jupyter = context.directories, context.settings.jupyter
    asked = (Path(context.environment.get("HOME") or "/"), jupyter.root_dir, jupyter.config)
    paths = [path for path in asked if path and path != Path("/") and path.exists()]
    paths += [places.session, *sorted(places.outside), context.temporary]
    return tuple(
        service if service.remote or service.ours else container.enter(context.container, service, paths)
        for service in plan.services
    )


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

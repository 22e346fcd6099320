"""What a session needs of this node, looked at one by one, each with what to do about it."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from ood_runtime import (
    apps,
    class_data,
    container_doctor,
    container_software,
    environment_software,
    java,
    launchers,
    place,
    ports,
    rstudio_doctor,
    scratch,
    spark_home,
    spark_sizes,
)
from ood_runtime.apps import jupyter
from ood_runtime.environment_changes import changes
from ood_runtime.environment_software import Provided
from ood_runtime.errors import OodRuntimeError
from ood_runtime.finding import BAD, GOOD, WARNING, Check, Finding
from ood_runtime.launchers import Launcher
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB, text
from ood_runtime.spark_software import archive_directories, find_python

_LEAST_SCRATCH = GIB  # bytes; shuffle data of a small job


def examine(settings: Settings, environment: Mapping[str, str], app: str | None = None) -> list[Finding]:
    """Look at everything, or at what ``app`` needs. Never raises: what cannot be looked at is a finding.

    Software is looked for in the environment of the settings, or in the job's where that cannot be loaded.
    """
    findings = []
    try:
        provided = environment_software.provide(settings, environment)
        findings += list(_environment(provided, environment, app))
        settings, environment = provided.settings, provided.environment
    except OodRuntimeError as error:
        findings.append(Finding("environment", BAD, error.what, error.remedy))
    checks: list[tuple[str, Check]] = [
        ("Python", _python),
        ("scheduler", _scheduler),
        ("host name", _host),
        ("ports", _ports),
        ("TLS", _tls),
        ("scratch space", _scratch),
        ("home directory", _home),
    ]
    for what, check in [*checks, *_software(settings, app)]:
        try:
            findings += list(check(settings, environment))
        except OodRuntimeError as error:
            findings.append(Finding(what, BAD, error.what, error.remedy))
    return findings


def _software(settings: Settings, app: str | None) -> list[tuple[str, Check]]:
    """How to look at the software of ``app``, or of all."""
    if settings.environment.container:
        return [("container", partial(container_doctor.examine, app))]
    checks: list[tuple[str, Check]] = []
    if app is None or app.startswith("jupyter"):
        checks += [("Jupyter", _jupyter), ("portal", _portal)]
    if app is None or app.endswith("-spark"):
        checks += [("Spark", _spark), ("Java", _java), ("memory", _memory)]
    if app in (None, "jupyter-spark"):
        checks.append(("PySpark kernel", _kernel))
    if app is None or app.startswith("rstudio"):
        checks += rstudio_doctor.CHECKS
    return checks


def missing(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """For each app what it lacks on this node, in words; nothing when it can be started."""
    answers = {}
    try:
        provided = environment_software.provide(settings, environment)
        settings, environment = provided.settings, provided.environment
    except OodRuntimeError as error:
        return dict.fromkeys(sorted(apps.available()), error.what)
    for name, app in sorted(apps.available().items()):
        try:
            container_software.look(app, settings, environment)
            answers[name] = ""
        except OodRuntimeError as error:
            answers[name] = error.what
    return answers


def _environment(provided: Provided, job: Mapping[str, str], app: str | None) -> Iterator[Finding]:
    environment = provided.settings.environment
    if environment.loads:
        changed = changes(job, provided.environment)
        count = len(changed.set) + len(changed.unset)
        yield Finding("environment", GOOD, f"{'; '.join(environment.steps)}: changes {count} variables")
    if app is None or app.startswith("jupyter"):
        for notice in provided.notices:
            yield Finding("environment", WARNING, notice)


def _python(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    yield Finding("Python", GOOD, f"{platform.python_version()} at {sys.executable}")


def _scheduler(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    launcher = _launcher(settings, environment)
    node = launcher.allocation(environment, Path.cwd(), settings).nodes[0]
    yield Finding(
        "scheduler",
        GOOD,
        f"launcher {launcher.name}; {node.cpus} CPUs and {node.memory / GIB:.1f} GiB for a session here",
    )


def _launcher(settings: Settings, environment: Mapping[str, str]) -> Launcher:
    return launchers.choose(settings.launcher or ("ssh" if settings.ssh.hosts else None), environment)


def _memory(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    nodes = _launcher(settings, environment).allocation(environment, Path.cwd(), settings).nodes
    sizes = spark_sizes.compute(nodes, settings.spark)
    driver, executor = text(sizes.driver_memory), text(sizes.executor_memory)
    yield Finding("memory", GOOD, f"enough for drivers of {driver} and {sizes.executors} executors of {executor}")


def _portal(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if settings.portal.origin:
        yield Finding("portal", GOOD, settings.portal.origin)
    elif _launcher(settings, environment).name != launchers.LOCAL:
        yield Finding(
            "portal",
            WARNING,
            "portal.origin is not set: Jupyter refuses logins through the portal",
            "give the site file the portal's address as browsers show it, or each app with `ood-runtime init --portal`",
        )


def _host(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    found = place.find(settings.host, settings.address, environment)
    detail = f"{found.host}, listening on {found.address}"
    if found.address.startswith("127.") or found.address == "::1":
        yield Finding(
            "host name",
            WARNING,
            f"{detail}: only this machine reaches that",
            "behind a portal on another machine, let the name stand for this node's network address (/etc/hosts, DNS), "
            "or set address",
        )
    else:
        yield Finding("host name", GOOD, detail)


def _ports(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    low, high = settings.ports.min, settings.ports.max
    taken = {listener.port for listener in ports.listeners() if low <= listener.port <= high}
    free = high - low + 1 - len(taken)
    yield Finding(
        "ports",
        GOOD if free >= 10 else BAD,
        f"{free} of {high - low + 1} free between {low} and {high}",
        "" if free >= 10 else "widen ports.min and ports.max",
    )


def _tls(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if settings.tls.mode == "off":
        return
    from ood_runtime import certificates  # noqa: PLC0415  (only where it is on)

    given = certificates.read(settings.tls, environment)
    doubts = certificates.cautions(given, place.find(settings.host, settings.address, environment).host, None)
    for doubt in doubts:
        yield Finding("TLS", WARNING, doubt, "let the authority name the node as `host` does, or set host")
    if not doubts:
        yield Finding("TLS", GOOD, f"{settings.tls.mode}; the portal needs {settings.portal.secure_node_uri}")


def _scratch(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    base, notices = scratch.base(settings.scratch_dir, environment)
    free = shutil.disk_usage(base).free
    detail = f"{base}, {free / GIB:.1f} GiB free"
    if notices:
        yield Finding(
            "scratch space",
            WARNING,
            f"{'; '.join(notices)} ({detail})",
            "set TMPDIR to a directory of the node's own disk",
        )
    elif free < _LEAST_SCRATCH:
        yield Finding("scratch space", WARNING, detail, "free some, or set TMPDIR to a larger disk")
    else:
        yield Finding("scratch space", GOOD, detail)


def _home(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    home = Path(environment.get("HOME") or "/nonexistent")
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        yield Finding(
            "home directory",
            WARNING,
            f"{home} cannot be written to: {error.strerror}",
            "free some of your quota; until then Jupyter forgets its settings, and nothing is cached",
        )
    else:
        yield Finding("home directory", GOOD, str(home))


def _jupyter(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    found = jupyter.find(settings, environment)
    yield Finding("Jupyter", GOOD, f"{found.interface} {found.version} at {found.command}")
    if found.python and os.access(found.command, os.X_OK) and not found.has_ipykernel:
        yield Finding(
            "Python kernel", WARNING, f"{found.python} has no ipykernel", f"{found.python} -m pip install ipykernel"
        )


def _spark(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    found = spark_home.find(settings.spark.home, environment)
    detail = f"{found.version} at {found.home}"
    if found.caution:
        yield Finding("Spark", WARNING, f"{detail}: {found.caution}")
    else:
        yield Finding("Spark", GOOD, detail)


def _java(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    found = java.find(settings.spark.java_home, environment)
    detail = f"{found.version} at {found.home} ({found.where})"
    try:
        spark = spark_home.find(settings.spark.home, environment)
    except OodRuntimeError:
        yield Finding("Java", GOOD, detail)
        return
    reason, caution = java.fits(found, spark), java.caution(found, spark)
    if reason:
        yield Finding("Java", BAD, f"{detail}: {reason}", "set spark.java_home to Java 17 or 21")
    elif caution:
        yield Finding("Java", WARNING, f"{detail}: {caution}")
    else:
        yield Finding("Java", GOOD, f"{detail}; fits Spark {spark.version}")
    archives = class_data.find(found, spark, archive_directories(settings.spark, environment))
    if archives:
        yield Finding("class-data archives", GOOD, str(archives.directory))
    elif settings.spark.class_data != "off":
        yield Finding(
            "class-data archives",
            WARNING,
            "none yet; sessions start about twice as fast with them",
            "`ood-runtime archives build`, or wait: the next session builds them",
        )


def _kernel(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        found = jupyter.find(settings, environment)
    except OodRuntimeError:
        found = None
    yield Finding("PySpark kernel", GOOD, str(find_python(settings.spark.python, found, environment)))

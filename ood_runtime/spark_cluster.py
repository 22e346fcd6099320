"""The cluster of a session: a standalone master and its workers (paper, section 4)."""

import sys
from pathlib import Path

from ood_runtime import (
    java,
    spark_connect,
    spark_driver,
    spark_jvm,
    spark_observed,
    spark_properties,
    spark_tls,
    spark_workers,
    tls,
    ui_filter,
)
from ood_runtime.context import Context
from ood_runtime.event_logs import EventLogs
from ood_runtime.plan import File, Part
from ood_runtime.probes import Listening, SparkMaster
from ood_runtime.render import properties_file, render
from ood_runtime.service import Check, Service
from ood_runtime.spark_properties import address, master_url, spark_software
from ood_runtime.spark_sizes import compute
from ood_runtime.spark_workers import MASTER

PORTS = ("spark_master", "spark_master_ui", spark_connect.PORT)
SECRETS = {"spark": "key", "spark_ui": "key"}
_MAIN = "org.apache.spark.deploy.master.Master"
_MASTER_RESTARTS = 3
_EVENT_LOG_SECONDS = 30.0  # between two looks: in that time a driver writes some tens of MB at most


def cluster(context: Context, directory: Path) -> Part:
    """The master and the workers, with everything they read.

    ``directory`` is where a driver that is shared runs: relative names of files are its own.
    """
    sizes = compute(context.allocation.nodes, context.settings.spark)
    logs = _event_logs(context)
    workers = spark_workers.workers(context, sizes)
    properties = spark_properties.compose(context, master_url(context), sizes)
    connect = spark_connect.server(context, properties, sizes, directory)
    files = [
        File(spark_jvm.PROPERTIES, properties_file(properties), secret=True),
        File("spark/master.args", _master_arguments(context), secret=context.tls is not None),
        File(spark_driver.ARGUMENTS, spark_driver.arguments(context, properties)),
        *workers.files,
        *connect.files,
    ]
    software = spark_software(context)
    if java.needs_shim(software.java, software.spark):
        files.append(File("spark/java/bin/java", java.shim(software.java), executable=True))
    files += tls.spark_files(context.tls)
    if software.ui_filter:
        files.append(File("spark/ui-filter.jar", software.ui_filter))
    files += _metrics(context)
    return Part(
        files=tuple(files),
        # Spark 3.5 makes none of these, or not their parents.
        directories=(
            context.directories.private / "spark" / "conf",
            *(context.directories.scratch / "spark" / name for name in ("local", "recovery", "work")),
            *workers.directories,
            *logs.directories,
        ),
        services=(_master(context), *workers.services, *connect.services, *_archive_builder(context)),
        checks=workers.checks + logs.checks,
        connection={"spark_master": master_url(context)},
        notices=_notices(context),
    )


def _master(context: Context) -> Service:
    port, ui_port = context.grant.ports["spark_master"], context.grant.ports["spark_master_ui"]
    page = spark_workers.master_page(context)
    return Service(
        name=MASTER,
        argv=(spark_jvm.executable(context), f"@{context.directories.private / 'spark/master.args'}"),
        environment=spark_jvm.environment(context),
        directory=context.directories.scratch,
        ready=SparkMaster(Listening((port, ui_port) if page.address == address(context) else (port,)), page),
        ready_seconds=context.settings.timeouts.ready,
        ports=(port, ui_port),
        ready_file=spark_workers.master_ready(context) if len(context.allocation.nodes) > 1 else None,
        restarts=_MASTER_RESTARTS,
    )


def _event_logs(context: Context) -> Part:
    """Where event logs go, and what looks after them there; nothing when the session keeps none."""
    settings = context.settings.spark.event_logs
    if not settings.enabled:
        return Part()
    directory = spark_observed.event_logs(context.directories.session)
    check = Check(
        name="event-logs",
        ready=EventLogs(directory, settings.limit),
        ready_seconds=context.settings.timeouts.ready,
        log=f"logs/{MASTER}.log",
        again_seconds=_EVENT_LOG_SECONDS,
        essential=False,
    )
    return Part(directories=(directory,), checks=(check,))


def _metrics(context: Context) -> list[File]:
    """What a Prometheus needs that asks the master: where it is, and what opens it."""
    if not context.settings.spark.prometheus:
        return []
    opening = ui_filter.authorization(spark_software(context).spark.release, context.grant.secrets["spark_ui"])
    token = File("spark/metrics-token", opening.reveal().removeprefix("Bearer "), secret=True)
    config = render(
        "prometheus.yml.j2",
        target=f"{spark_tls.interface_address(context)}:{context.grant.ports['spark_master_ui']}",
        certificate_file=spark_tls.interface_certificate_file(context),
        token_file=str(context.directories.private / token.name),
    )
    return [token, File("spark/prometheus.yml", config)]


def _archive_builder(context: Context) -> tuple[Service, ...]:
    """Builds class-data archives beside the first session that has none, with what nobody else needs of the CPU."""
    software = spark_software(context)
    if not software.archive_directory:
        return ()
    argv: tuple[str, ...] = (sys.executable, "-m", "ood_runtime.class_data_build")
    argv += ("--java-home", str(software.java.home), "--spark-home", str(software.spark.home))
    argv += ("--python", str(software.python), "--directory", str(software.archive_directory))
    return (
        Service(
            name="class-data",
            argv=argv,
            ours=True,
            environment=_own_python(context),
            directory=context.directories.scratch,
            ready_seconds=60,
            essential=False,
            background=True,
        ),
    )


def _own_python(context: Context) -> dict[str, str | None]:
    """What lets our own Python find our own packages only, where the environment may have another Python's."""
    if not context.settings.environment.loads:
        return {}
    return {"PYTHONHOME": None, "PYTHONPATH": str(Path(__file__).parents[1])}


def _master_arguments(context: Context) -> str:
    ports = context.grant.ports
    # With TLS this port only tells browsers to use the other one.
    ui_port = 0 if spark_tls.everywhere(context) else ports["spark_master_ui"]
    program: list[object] = ["--host", address(context), "--port", ports["spark_master"]]
    program += ["--webui-port", ui_port, "--properties-file", spark_jvm.properties_path(context)]
    system = {
        # Its proxy to the pages of workers and applications makes a client for TLS also where there is none, which
        # reads all of Java's authorities.
        "javax.net.ssl.trustStore": "NONE",
        **spark_tls.master_properties(context),
        # A port that is taken ends the master, and another one is drawn; it must not move on by itself.
        "spark.port.maxRetries": "0",
        # A master that was killed comes back and finds its workers and applications.
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": str(context.directories.scratch / "spark" / "recovery"),
    }
    options = spark_jvm.daemon_options(context, system, temporary=context.directories.temporary)
    return spark_jvm.argument_file([*options, _MAIN, *program])


def _notices(context: Context) -> tuple[str, ...]:
    software = spark_software(context)
    caution = java.caution(software.java, software.spark)
    dropped = spark_properties.dropped(context)
    left_out = (
        f"left out of {software.conf_directory}/spark-defaults.conf, since they secure the cluster: "
        + ", ".join(dropped)
    )
    return tuple(filter(None, [caution, software.spark.caution, left_out if dropped else None]))

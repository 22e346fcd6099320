"""The cluster of a session: a standalone master and its workers (paper, section 4)."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path

from ood_runtime import class_data, java, spark_driver, spark_jvm, spark_properties, ui_filter
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.probes import Always, Listening, SparkWorkers
from ood_runtime.render import properties_file, render
from ood_runtime.service import Service
from ood_runtime.settings import sizes as memory
from ood_runtime.spark_properties import address, master_url, spark_software
from ood_runtime.spark_sizes import Sizes, compute

PORTS = ("spark_master", "spark_master_ui")
SECRETS = {"spark": "key", "spark_ui": "key"}
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_MASTER_RESTARTS = 3


def cluster(context: Context) -> Part:
    """The master and the worker, with everything they read."""
    sizes = _sizes(context)
    properties = spark_properties.compose(context, master_url(context), sizes)
    files = [
        File(spark_jvm.PROPERTIES, properties_file(properties), secret=True),
        File("spark/master.args", _master_arguments(context)),
        File("spark/worker.args", _worker_arguments(context, sizes)),
        File(spark_driver.ARGUMENTS, spark_driver.arguments(context, properties)),
        File("spark/worker.sh", _worker_script(context), executable=True),
    ]
    software = spark_software(context)
    if java.needs_shim(software.java, software.spark):
        files.append(File("spark/java/bin/java", java.shim(software.java), executable=True))
    if software.ui_filter:
        files.append(File("spark/ui-filter.jar", software.ui_filter))
    return Part(
        files=tuple(files),
        # Spark 3.5 makes none of these, or not their parents.
        directories=(
            context.directories.private / "spark" / "conf",
            *(context.directories.scratch / "spark" / name for name in ("local", "recovery", "work")),
        ),
        services=(_master(context), _worker(context), *_archive_builder(context)),
        connection={"spark_master": master_url(context)},
        notices=_notices(context),
    )


def _sizes(context: Context) -> Sizes:
    return compute(context.allocation.nodes[0], context.settings.spark)


def _master(context: Context) -> Service:
    port, ui_port = context.grant.ports["spark_master"], context.grant.ports["spark_master_ui"]
    return Service(
        name="spark-master",
        argv=(spark_jvm.executable(context), f"@{context.directories.private / 'spark/master.args'}"),
        environment=spark_jvm.environment(context),
        directory=context.directories.scratch,
        ready=Listening((port,)),
        ready_seconds=context.settings.timeouts.ready,
        ports=(port, ui_port),
        restarts=_MASTER_RESTARTS,
    )


def _worker(context: Context) -> Service:
    total = len(context.allocation.nodes)
    return Service(
        name="spark-worker",
        argv=(str(context.directories.private / "spark/worker.sh"),),
        directory=context.directories.scratch,
        ready=SparkWorkers(
            address=address(context),
            port=context.grant.ports["spark_master_ui"],
            authorization=ui_filter.authorization(
                spark_software(context).spark.release, context.grant.secrets["spark_ui"]
            ),
            wanted=wanted_workers(context.settings.spark.wait_for_workers, total),
            total=total,
        ),
        ready_seconds=context.settings.timeouts.ready,
        after=("spark-master",),
        gate=_gate(context),
        # Each answer takes a starting JVM 6 ms.
        probe_seconds=0.12,
        essential=False,
        restarts=context.settings.spark.worker.restarts,
    )


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
            directory=context.directories.scratch,
            ready=Always(),
            ready_seconds=60,
            essential=False,
            background=True,
        ),
    )


def wanted_workers(setting: str, total: int) -> int:
    """How many workers ``spark.wait_for_workers`` asks for, of ``total``; at most all, at least one."""
    if setting == "all":
        return total
    if setting.endswith("%"):
        return max(1, math.ceil(total * int(setting[:-1]) / 100))
    return min(int(setting), total)


def _master_arguments(context: Context) -> str:
    ports = context.grant.ports
    program: list[object] = ["--host", address(context), "--port", ports["spark_master"]]
    program += ["--webui-port", ports["spark_master_ui"], "--properties-file", spark_jvm.properties_path(context)]
    system = {
        # A port that is taken ends the master, and another one is drawn; it must not move on by itself.
        "spark.port.maxRetries": "0",
        # A master that was killed comes back and finds its workers and applications.
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.deploy.recoveryDirectory": str(context.directories.scratch / "spark" / "recovery"),
    }
    return _daemon(context, system, [_MASTER, *program])


def _worker_arguments(context: Context, sizes: Sizes) -> str:
    program: list[object] = ["--host", address(context), "--port", 0, "--webui-port", 0]
    program += ["--cores", sizes.worker_cores, "--memory", memory.spark(sizes.worker_memory)]
    program += ["--work-dir", context.directories.scratch / "spark" / "work"]
    program += ["--properties-file", spark_jvm.properties_path(context), master_url(context)]
    # Read when the worker's RPC is up and before it looks for its master: there it waits until that listens.
    # A worker that came too early would ask again after 5 to 15 s.
    gate = _gate(context)
    return _daemon(context, {"spark.metrics.conf": str(gate)} if gate else {}, [_WORKER, *program])


def _daemon(context: Context, system: Mapping[str, str], program: list[object]) -> str:
    software = spark_software(context)
    options = [
        f"-Xmx{memory.spark(context.settings.spark.master_memory)}",
        *class_data.daemon_options(software.java, software.archives),
        *class_data.temporary_options(context.directories.temporary),
        *java.module_options(software.java, software.spark, vector=False),
        *(f"-D{key}={value}" for key, value in system.items()),
    ]
    return spark_jvm.argument_file([*options, "-cp", spark_jvm.daemon_classpath(context), *program])


def _worker_script(context: Context) -> str:
    return render(
        "spark_worker.sh.j2",
        environment=spark_jvm.environment(context),
        java=spark_jvm.executable(context),
        arguments=str(context.directories.private / "spark/worker.args"),
        gate=str(_gate(context) or ""),
    )


def _gate(context: Context) -> Path | None:
    """Where the worker waits for its master; nowhere when the site or the user has a file for metrics."""
    theirs = "spark.metrics.conf" in {**spark_software(context).site_conf, **context.settings.spark.conf}
    return None if theirs else context.directories.scratch / "spark" / "gate"


def _notices(context: Context) -> tuple[str, ...]:
    software = spark_software(context)
    caution = java.caution(software.java, software.spark)
    dropped = spark_properties.dropped(context)
    left_out = (
        f"left out of {software.conf_directory}/spark-defaults.conf, since they secure the cluster: "
        + ", ".join(dropped)
    )
    return tuple(filter(None, [caution, software.spark.caution, left_out if dropped else None]))

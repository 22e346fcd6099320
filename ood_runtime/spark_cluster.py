"""The Spark part of a session: a standalone master, its workers, and the kernel that drives them (paper, section 4).

Every JVM is started directly, without Spark's scripts, each with a file of arguments that ``java @FILE`` reads: that
saves a second JVM and keeps hundreds of jars out of ``ps``. All that is secret stands in one properties file.
"""

import math
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ood_runtime import class_data, java, spark_properties, ui_filter
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.probes import Always, Listening, SparkWorkers
from ood_runtime.render import java_argument, properties_file, render
from ood_runtime.service import Service
from ood_runtime.settings import sizes as memory
from ood_runtime.spark_properties import address, filter_jar, spark_software
from ood_runtime.spark_sizes import Sizes, compute

PORTS = ("spark_master", "spark_master_ui")
SECRETS = {"spark": "key", "spark_ui": "key"}
KERNEL = "pyspark_kernel.sh"
_STARTUP = "pyspark_startup.py"
_PROPERTIES = "spark/spark.conf"
_MASTER, _WORKER, _SUBMIT = (
    "org.apache.spark.deploy.master.Master",
    "org.apache.spark.deploy.worker.Worker",
    "org.apache.spark.deploy.SparkSubmit",
)
_MASTER_RESTARTS = 3


def cluster(context: Context) -> Part:
    """The master and the worker, with everything they read."""
    sizes = _sizes(context)
    properties = spark_properties.compose(context, master_url(context), sizes)
    files = [
        File(_PROPERTIES, properties_file(properties), secret=True),
        File("spark/master.args", _master_arguments(context)),
        File("spark/worker.args", _worker_arguments(context, sizes)),
        File("spark/driver.args", _driver_arguments(context, properties)),
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


def pyspark_kernel(context: Context) -> Part:
    """The PySpark kernel: its wrapper script, and what makes ``sc`` and ``spark`` (paper, section 4.1)."""
    software = spark_software(context)
    private = context.directories.private
    startup = render(
        "pyspark_startup.py.j2",
        java=[str(software.java.executable), f"@{private / 'spark/driver.args'}"],
        log_dir=str(context.directories.logs),
        scratch_dir=str(context.directories.scratch),
    )
    wrapper = render("pyspark_kernel.sh.j2", python=str(software.python), environment=driver_environment(context))
    return Part(files=(File(KERNEL, wrapper, executable=True), File(_STARTUP, startup)))


def driver_environment(context: Context) -> dict[str, str]:
    """The variables with which a PySpark program becomes a driver of this session's cluster."""
    software = spark_software(context)
    private = context.directories.private
    submit = shlex.join(["--properties-file", str(_properties_path(context)), "pyspark-shell"])
    search = [*map(str, software.spark.python_path), *filter(None, [context.environment.get("PYTHONPATH")])]
    return {
        **_daemon_environment(context),
        "PYSPARK_DRIVER_PYTHON": str(software.python),
        "PYSPARK_PYTHON": str(software.python),
        "PYSPARK_SUBMIT_ARGS": submit,
        "PYTHONPATH": os.pathsep.join(search),
        "PYTHONSTARTUP": str(private / _STARTUP),
    }


def master_url(context: Context) -> str:
    """What ``spark.master`` is for this session's drivers."""
    return f"spark://{address(context)}:{context.grant.ports['spark_master']}"


def _sizes(context: Context) -> Sizes:
    return compute(context.allocation.nodes[0], context.settings.spark)


def _master(context: Context) -> Service:
    port, ui_port = context.grant.ports["spark_master"], context.grant.ports["spark_master_ui"]
    return Service(
        name="spark-master",
        argv=(_java(context), f"@{context.directories.private / 'spark/master.args'}"),
        environment=_daemon_environment(context),
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


def _daemon_environment(context: Context) -> dict[str, str]:
    software = spark_software(context)
    private = context.directories.private
    shim = java.needs_shim(software.java, software.spark)
    return {
        **_utf8_locale(context.environment),
        "JAVA_HOME": str(private / "spark/java" if shim else software.java.home),
        "SPARK_CONF_DIR": str(software.archives.conf_dir if software.archives else private / "spark/conf"),
        "SPARK_HOME": str(software.spark.home),
        "SPARK_LOCAL_DIRS": str(context.directories.scratch / "spark" / "local"),
        "SPARK_LOCAL_IP": address(context),
        "SPARK_PUBLIC_DNS": address(context),
        # Set by spark-class; without it executors die with "Cannot find any build directories".
        "SPARK_SCALA_VERSION": software.spark.scala,
    }


def _utf8_locale(environment: Mapping[str, str]) -> dict[str, str]:
    """A locale in which Java can open files with names that are not ASCII, where the job has another one."""
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C"
    return {} if "utf" in locale.lower() else {"LC_ALL": "C.UTF-8"}


def _master_arguments(context: Context) -> str:
    ports = context.grant.ports
    program: list[object] = ["--host", address(context), "--port", ports["spark_master"]]
    program += ["--webui-port", ports["spark_master_ui"], "--properties-file", _properties_path(context)]
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
    program += ["--properties-file", _properties_path(context), master_url(context)]
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
    return _arguments([*options, "-cp", _classpath(context), *program])


def _driver_arguments(context: Context, properties: Mapping[str, str]) -> str:
    """What Spark's own launcher would make of the properties for a driver, without the JVM that it needs for that."""
    software = spark_software(context)
    return _arguments(
        [
            f"-Xmx{properties['spark.driver.memory']}",
            *class_data.driver_options(software.java, software.archives),
            *java.module_options(software.java, software.spark),
            *shlex.split(properties.get("spark.driver.defaultJavaOptions", "")),
            *shlex.split(properties.get("spark.driver.extraJavaOptions", "")),
            *class_data.temporary_options(context.directories.temporary),
            "-cp",
            _driver_classpath(context, properties),
            _SUBMIT,
            "--properties-file",
            _properties_path(context),
            "pyspark-shell",
        ]
    )


def _driver_classpath(context: Context, properties: Mapping[str, str]) -> str:
    """As Spark's launcher has it: what the user adds comes first, and may replace what Spark brings."""
    theirs = properties.get("spark.driver.extraClassPath", "").split(os.pathsep)
    added = [entry for entry in theirs if entry and entry != str(filter_jar(context))]
    return os.pathsep.join([*added, _classpath(context, _site_classpath(context))])


def _classpath(context: Context, more: Iterable[Path] = ()) -> str:
    """The jars first and in a fixed order, as class-data archives want it, then what else there is."""
    software = spark_software(context)
    extra = [filter_jar(context)] if software.ui_filter else []
    return os.pathsep.join([class_data.classpath(software.spark), *map(str, [*extra, *more])])


def _site_classpath(context: Context) -> list[Path]:
    """Where a driver finds the site's hive-site.xml, core-site.xml and log4j2.properties."""
    hadoop = context.environment.get("HADOOP_CONF_DIR")
    directories = [spark_software(context).conf_directory, Path(hadoop) if hadoop else None]
    return [directory for directory in directories if directory]


def _arguments(arguments: Iterable[object]) -> str:
    return "".join(f"{java_argument(argument)}\n" for argument in arguments)


def _worker_script(context: Context) -> str:
    return render(
        "spark_worker.sh.j2",
        environment=_daemon_environment(context),
        java=_java(context),
        arguments=str(context.directories.private / "spark/worker.args"),
        gate=str(_gate(context) or ""),
    )


def _gate(context: Context) -> Path | None:
    """Where the worker waits for its master; nowhere when the site or the user has a file for metrics."""
    theirs = "spark.metrics.conf" in {**spark_software(context).site_conf, **context.settings.spark.conf}
    return None if theirs else context.directories.scratch / "spark" / "gate"


def _properties_path(context: Context) -> Path:
    return context.directories.private / _PROPERTIES


def _java(context: Context) -> str:
    return str(spark_software(context).java.executable)


def _notices(context: Context) -> tuple[str, ...]:
    software = spark_software(context)
    caution = java.caution(software.java, software.spark)
    dropped = spark_properties.dropped(context)
    left_out = (
        f"left out of {software.conf_directory}/spark-defaults.conf, since they secure the cluster: "
        + ", ".join(dropped)
    )
    return tuple(filter(None, [caution, software.spark.caution, left_out if dropped else None]))

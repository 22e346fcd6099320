"""The driver's side of the Spark part: the PySpark kernel, and how its JVM is started (paper, section 4.1)."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import class_data, java, spark_jvm, spark_sharing
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.render import render
from ood_runtime.service import Service
from ood_runtime.spark_properties import filter_jar, spark_software

KERNEL = "pyspark_kernel.sh"
ARGUMENTS = "spark/driver.args"
_STARTUP = "pyspark_startup.py"
_NOT_USED = "PySpark notebooks do not use PYSPARK_SUBMIT_ARGS of this job; the setting spark.conf takes what is in it"


def pyspark_kernel(context: Context, directory: Path, surroundings: Mapping[str, str]) -> Part:
    """The PySpark kernel: its wrapper script, and what makes ``sc`` and ``spark`` (paper, section 4.1).

    ``directory`` is where notebooks begin, and ``surroundings`` are the variables that they get from what starts them:
    a driver that is kept warm for the first of them has the same.
    """
    software = spark_software(context)
    private = context.directories.private
    startup = render(
        "pyspark_startup.py.j2",
        java=[str(software.java.executable), f"@{private / ARGUMENTS}"],
        warm=str(context.directories.sockets / "warm-driver")
        if spark_sharing.warm(context.settings.spark) != "off"
        else "",
        log_dir=str(context.directories.logs),
        drivers_dir=str(context.directories.drivers),
    )
    wrapper = render(
        "pyspark_kernel.sh.j2",
        name="pyspark",
        title="PySpark",
        python=str(software.python),
        environment=environment(context),
    )
    files = (File(KERNEL, wrapper, executable=True), File(_STARTUP, startup))
    notices = (_NOT_USED,) if "PYSPARK_SUBMIT_ARGS" in context.environment else ()
    services = _warm_driver(context, directory, surroundings)
    return Part(files=files, directories=(context.directories.drivers,), services=services, notices=notices)


def _warm_driver(context: Context, directory: Path, surroundings: Mapping[str, str]) -> tuple[Service, ...]:
    """Starts the first notebook's driver when the session is ready, by the kernel's own script: it must be the same."""
    mode = spark_sharing.warm(context.settings.spark)
    if mode == "off":
        return ()
    return (
        Service(
            name="warm-driver",
            argv=("/bin/sh", str(context.directories.private / KERNEL), "--warm", mode),
            environment={**context.allocation.environment, **surroundings},
            directory=directory,
            ready_seconds=60,
            essential=False,
            background=True,
        ),
    )


def environment(context: Context) -> dict[str, str]:
    """The variables with which a PySpark program becomes a driver of this session's cluster."""
    return {
        **spark_jvm.environment(context),
        **python_environment(context),
        "PYSPARK_SUBMIT_ARGS": shlex.join(map(str, _pyspark(context))),
        "PYTHONSTARTUP": str(context.directories.private / _STARTUP),
    }


def python_environment(context: Context) -> dict[str, str]:
    """The variables with which a Python finds this session's pyspark, and a driver the Python of its executors."""
    software = spark_software(context)
    search = [*map(str, software.spark.python_path), *filter(None, [context.environment.get("PYTHONPATH")])]
    return {
        "PYSPARK_DRIVER_PYTHON": str(software.python),
        "PYSPARK_PYTHON": str(software.python),
        "PYTHONPATH": os.pathsep.join(search),
    }


def _pyspark(context: Context) -> Sequence[object]:
    """What SparkSubmit is told for a notebook's driver."""
    return ("--properties-file", spark_jvm.properties_path(context), "pyspark-shell")


def arguments(context: Context, properties: Mapping[str, str], program: Sequence[object] = ()) -> str:
    """What Spark's own launcher would make of the properties for a driver, without the JVM that it needs for that.

    ``program`` is what SparkSubmit is told; without it, what it is told for a notebook.
    """
    software = spark_software(context)
    return spark_jvm.argument_file(
        [
            f"-Xmx{properties['spark.driver.memory']}",
            *class_data.driver_options(software.java, software.archives),
            *java.module_options(software.java, software.spark),
            *shlex.split(properties.get("spark.driver.defaultJavaOptions", "")),
            *shlex.split(properties.get("spark.driver.extraJavaOptions", "")),
            *class_data.temporary_options(context.directories.temporary),
            "-cp",
            _classpath(context, properties),
            "org.apache.spark.deploy.SparkSubmit",
            *(program or _pyspark(context)),
        ]
    )


def _classpath(context: Context, properties: Mapping[str, str]) -> str:
    """As Spark's launcher has it: what the user adds comes first, and may replace what Spark brings."""
    theirs = properties.get("spark.driver.extraClassPath", "").split(os.pathsep)
    added = [entry for entry in theirs if entry and entry != str(filter_jar(context))]
    return os.pathsep.join([*added, spark_jvm.classpath(context, _site_classpath(context))])


def _site_classpath(context: Context) -> list[Path]:
    """Where a driver finds the site's hive-site.xml, core-site.xml and log4j2.properties."""
    hadoop = context.environment.get("HADOOP_CONF_DIR")
    directories = [spark_software(context).conf_directory, Path(hadoop) if hadoop else None]
    return [directory for directory in directories if directory]

"""What every JVM of the Spark part is started with: its environment, class path and file of arguments.

JVMs are started directly, without Spark's scripts: that saves a second JVM, and a file of arguments keeps hundreds of
jars out of ``ps``.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ood_runtime import class_data, java, spark_tls
from ood_runtime.context import Context
from ood_runtime.render import java_argument
from ood_runtime.settings import sizes as memory
from ood_runtime.spark_properties import filter_jar, spark_software

PROPERTIES = "spark/spark.conf"


def environment(context: Context) -> dict[str, str]:
    """The variables of every JVM."""
    software = spark_software(context)
    places, private = context.directories, context.directories.private
    shim = java.needs_shim(software.java, software.spark)
    return {
        **_utf8_locale(context.environment),
        "JAVA_HOME": str(private / "spark/java" if shim else software.java.home),
        "SPARK_CONF_DIR": str(software.archives.conf_dir if software.archives else private / "spark/conf"),
        "SPARK_HOME": str(software.spark.home),
        "SPARK_LOCAL_DIRS": ",".join(map(str, [places.scratch / "spark/local", *places.local])),
        # Of web interfaces only: who needs another address is told that.
        "SPARK_LOCAL_IP": spark_tls.interface_address(context),
        "SPARK_PUBLIC_DNS": spark_tls.interface_address(context),
        # Set by spark-class; without it executors die with "Cannot find any build directories".
        "SPARK_SCALA_VERSION": software.spark.scala,
    }


def _utf8_locale(environment: Mapping[str, str]) -> dict[str, str]:
    """A locale in which Java can open files with names that are not ASCII, where the job has another one."""
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or "C"
    return {} if "utf" in locale.lower() else {"LC_ALL": "C.UTF-8"}


def classpath(context: Context, more: Iterable[Path] = ()) -> str:
    """A driver's: the jars first and in a fixed order, as class-data archives want it, then what else there is."""
    return os.pathsep.join([class_data.classpath(spark_software(context).spark), *map(str, [*_filter(context), *more])])


def _filter(context: Context) -> list[Path]:
    return [filter_jar(context)] if spark_software(context).ui_filter else []


def daemon_options(context: Context, system: Mapping[str, object], *, temporary: Path | None) -> list[str]:
    """What comes before the class of a Master or Worker; their own files go to ``temporary``, if that is known yet."""
    software = spark_software(context)
    return [
        f"-Xmx{memory.spark(context.settings.spark.master_memory)}",
        *class_data.daemon_options(software.java, software.archives),
        *class_data.temporary_options(temporary),
        *java.module_options(software.java, software.spark, vector=False),
        *(f"-D{key}={value}" for key, value in system.items()),
        "-cp",
        os.pathsep.join([class_data.daemon_classpath(software.spark), *map(str, _filter(context))]),
    ]


def argument_file(arguments: Iterable[object]) -> str:
    """The text of a file that ``java @FILE`` reads."""
    return "".join(f"{java_argument(argument)}\n" for argument in arguments)


def properties_path(context: Context) -> Path:
    """The file with all that Spark must know, secrets included."""
    return context.directories.private / PROPERTIES


def executable(context: Context) -> str:
    """The Java that runs them."""
    return str(spark_software(context).java.executable)

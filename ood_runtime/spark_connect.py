"""The driver that notebooks share: a Spark Connect server, and the kernel that is its client.

docs/decisions/0014-sharing.md has the reasons. Needs Spark 4.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ood_runtime import spark_driver, spark_jvm, spark_sharing
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.probes import Listening
from ood_runtime.render import properties_file, render
from ood_runtime.service import Service
from ood_runtime.spark_properties import spark_software
from ood_runtime.spark_sizes import Sizes

PORT = "spark_connect"
NAME = "spark-connect"
KERNEL = "pyspark_shared_kernel.sh"
TOKEN = "spark/connect.token"  # noqa: S105  (the name of a file)
_STARTUP = "pyspark_shared_startup.py"
_SCRIPT, _ARGUMENTS, _POOLS = "spark/connect.sh", "spark/connect.args", "spark/pools.xml"
_PROPERTIES, _ALL_BUT_TOKEN = "spark/connect.conf", "spark/connect-base.conf"
_MAIN = "org.apache.spark.sql.connect.service.SparkConnectServer"
# Clients speak without TLS to the name localhost only. It may mean either of these: the server has the first, and
# keeps the second from everybody else.
ADDRESS, OTHER_ADDRESS = "127.0.0.1", "::1"
_RESTARTS = 3
_STATUS = "status.json"


def server(context: Context, properties: Mapping[str, str], sizes: Sizes, directory: Path) -> Part:
    """The server; nothing where notebooks do not share a driver. ``properties`` are those of other drivers.

    It runs in ``directory``, which outlives the session: what a notebook writes under a relative name is there.
    """
    if context.settings.spark.sharing != "connect":
        return Part()
    private = context.directories.private
    # As much as other drivers say, unless the site or the user wants more.
    quiet = {"spark.log.level": "WARN"}
    entries = quiet | spark_sharing.shared_entries(context.settings.spark, sizes, properties) | _entries(context)
    script = render(
        "spark_connect.sh.j2",
        base=str(private / _ALL_BUT_TOKEN),
        properties=str(private / _PROPERTIES),
        token=str(private / TOKEN),
        java=spark_jvm.executable(context),
        arguments=str(private / _ARGUMENTS),
    )
    program = ("--properties-file", private / _PROPERTIES, "--class", _MAIN, "spark-internal")
    return Part(
        files=(
            File(_SCRIPT, script, executable=True),
            File(_ARGUMENTS, spark_driver.arguments(context, entries, program)),
            File(_ALL_BUT_TOKEN, properties_file(entries), secret=True),
            # Both are written by the script.
            File(_PROPERTIES, "", secret=True),
            File(TOKEN, "", secret=True),
            File(_POOLS, render("spark_pools.xml.j2")),
        ),
        services=(replace(_service(context), directory=directory),),
    )


def shared_kernel(context: Context) -> Part:
    """The kernel "PySpark (shared)": its wrapper script, and what makes ``spark``."""
    if context.settings.spark.sharing != "connect":
        return Part()
    private = context.directories.private
    startup = render(
        "pyspark_shared_startup.py.j2",
        port=context.grant.ports[PORT],
        token=str(private / TOKEN),
        status=str(context.directories.session / _STATUS),
        service=NAME,
        log=str(context.directories.session / _service(context).log),
    )
    python = str(spark_software(context).python)
    environment = spark_driver.python_environment(context) | {
        "PYTHONSTARTUP": str(private / _STARTUP),
        "SPARK_REMOTE": url(context),
    }
    wrapper = render(
        "pyspark_kernel.sh.j2",
        name="pyspark-shared",
        title="PySpark (shared)",
        python=python,
        environment=environment,
    )
    return Part(files=(File(KERNEL, wrapper, executable=True), File(_STARTUP, startup)))


def kernels(context: Context) -> dict[str, Path]:
    """The script of each kernel that joins the cluster, by the kernelspec's name."""
    private = context.directories.private
    shared = {"pyspark-shared": private / KERNEL} if context.settings.spark.sharing == "connect" else {}
    return {"pyspark": private / spark_driver.KERNEL, **shared}


def url(context: Context) -> str:
    """What SPARK_REMOTE is; without the token."""
    return f"sc://localhost:{context.grant.ports[PORT]}"


def access(context: Context) -> dict[str, str] | None:
    """What another client needs: the address, the file with the token, the release. None where no driver is shared."""
    if context.settings.spark.sharing != "connect":
        return None
    release = ".".join(map(str, spark_software(context).spark.release))
    return {"url": url(context), "token": str(context.directories.private / TOKEN), "version": release}


def _service(context: Context) -> Service:
    port = context.grant.ports[PORT]
    return Service(
        name=NAME,
        argv=(str(context.directories.private / _SCRIPT),),
        environment=spark_jvm.environment(context) | spark_driver.python_environment(context),
        ready=Listening((port,)),
        ready_seconds=context.settings.timeouts.ready,
        ports=(port,),
        alone_at=((OTHER_ADDRESS, port),),
        essential=False,
        restarts=_RESTARTS,
        # Nobody has a notebook yet: Jupyter, the master and the workers get the processors first.
        background=True,
    )


def _entries(context: Context) -> dict[str, str]:
    return {
        "spark.app.name": "PySpark (shared)",
        "spark.connect.grpc.binding.address": ADDRESS,
        "spark.connect.grpc.binding.port": str(context.grant.ports[PORT]),
        "spark.connect.grpc.port.maxRetries": "0",
        # What a notebook computed that was killed must not hold cores for Spark's five minutes.
        "spark.connect.execute.manager.detachedTimeout": "20s",
        "spark.connect.execute.manager.maintenanceInterval": "5s",
        # All jobs of Spark Connect are in one pool; in this one they take turns.
        "spark.scheduler.allocation.file": f"file://{context.directories.private / _POOLS}",
    }

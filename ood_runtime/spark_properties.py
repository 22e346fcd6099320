"""Spark's configuration for a session: ours, the site's and the user's entries, merged in this order of strength:

a site's spark-defaults.conf < what we compute < spark.conf of the settings < what secures the cluster
"""

import os
from collections.abc import Mapping
from pathlib import Path

from ood_runtime import class_data, java_properties, spark_observed, spark_sharing, spark_tls, spark_ui, ui_filter
from ood_runtime.context import Context, SparkSoftware
from ood_runtime.errors import OodRuntimeError
from ood_runtime.secret import Secret
from ood_runtime.settings import sizes as memory
from ood_runtime.settings.model import PROTECTED
from ood_runtime.spark_sizes import Sizes


def read(path: Path) -> dict[str, str]:
    """The entries of a spark-defaults.conf; none when it cannot be read."""
    try:
        return java_properties.read(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}


def compose(context: Context, master: str, sizes: Sizes) -> dict[str, str]:
    """All entries for the master, the workers and the drivers of this session; some are secret."""
    software = spark_software(context)
    settings = context.settings.spark
    site = {
        key: value for key, value in software.site_conf.items() if settings.allow_insecure or not PROTECTED.match(key)
    }
    secured = secure(software.spark.release, context.grant.secrets) | spark_tls.properties(context)
    merged = {**site, **_computed(context, master, sizes), **settings.conf}
    _add_java_options(merged, context)
    if software.ui_filter:
        # For drivers that are started by spark-submit; ours have it in their own command.
        theirs = merged.get("spark.driver.extraClassPath")
        merged["spark.driver.extraClassPath"] = os.pathsep.join(filter(None, [theirs, str(filter_jar(context))]))
    return {**secured, **merged} if settings.allow_insecure else {**merged, **secured, "spark.master": master}


def dropped(context: Context) -> list[str]:
    """The entries of the site's spark-defaults.conf that were left out because they would weaken security."""
    if context.settings.spark.allow_insecure:
        return []
    return sorted(key for key in spark_software(context).site_conf if PROTECTED.match(key) and key != "spark.master")


def secure(release: tuple[int, int], secrets: Mapping[str, Secret]) -> dict[str, str]:
    """What keeps other users out (Spark's documentation, "Spark Security").

    Everybody who talks to the cluster must know the secret; what goes over the wire and to the disk is encrypted,
    with an authenticated cipher; nothing is accepted over REST, which knows no secret; the web interfaces want a token.
    """
    return {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets["spark"].reveal(),
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.saslFallback": "false",
        "spark.network.crypto.authEngineVersion": "2",
        "spark.network.crypto.cipher": "AES/GCM/NoPadding",
        "spark.io.encryption.enabled": "true",
        "spark.master.rest.enabled": "false",
        "spark.ui.killEnabled": "false",
        **ui_filter.conf(release, secrets["spark_ui"]),
    }


def _computed(context: Context, master: str, sizes: Sizes) -> dict[str, str]:
    settings = context.settings.spark
    entries = {
        "spark.master": master,
        "spark.driver.host": address(context),
        "spark.driver.bindAddress": address(context),
        "spark.driver.memory": memory.spark(sizes.driver_memory),
        "spark.executor.cores": str(sizes.executor_cores),
        "spark.executor.memory": memory.spark(sizes.executor_memory),
        "spark.ui.port": "0",  # the second notebook would wait for 4040 and then take another one
        "spark.ui.showConsoleProgress": "false",
        **spark_ui.properties(context),
    }
    if not has_hive(context):
        # Spark's own choice is a Hive catalog in the current directory, which only one notebook can open.
        entries["spark.sql.catalogImplementation"] = "in-memory"
    if settings.gpu.enabled:
        entries["spark.executor.resource.gpu.amount"] = str(settings.gpu.per_executor)
        entries["spark.task.resource.gpu.amount"] = f"{settings.gpu.per_task:g}"
    observed = spark_observed.properties(settings, context.directories.session)
    return entries | spark_sharing.entries(settings, sizes) | observed


def has_hive(context: Context) -> bool:
    """Whether the site has a Hive catalog for this Spark."""
    directory = spark_software(context).conf_directory
    return directory is not None and (directory / "hive-site.xml").exists()


def _add_java_options(entries: dict[str, str], context: Context) -> None:
    """Ours come before what the site or the user asks for, except where others could put files of theirs."""
    software, own = spark_software(context), context.directories.temporary
    # On another node an executor's current directory, which is its own, is all that is known.
    its = own if len(context.allocation.nodes) == 1 else Path()
    executor = class_data.executor_options(software.java, software.archives)
    # The driver's are for programs that spark-submit starts: ours have them in their own command.
    for key, before, temporary in (
        ("spark.executor.extraJavaOptions", executor, its),
        ("spark.driver.extraJavaOptions", (), own),
    ):
        after = class_data.as_property(class_data.temporary_options(temporary))
        entries[key] = " ".join(filter(None, (class_data.as_property(before), entries.get(key), after)))


def master_url(context: Context) -> str:
    """What ``spark.master`` is for this session's drivers."""
    return f"spark://{address(context)}:{context.grant.ports['spark_master']}"


def filter_jar(context: Context) -> Path:
    """Where this session's filter for Spark 3.5's web interfaces is."""
    return context.directories.private / "spark" / "ui-filter.jar"


def address(context: Context) -> str:
    """The address of this node that Spark uses."""
    return context.place.cluster


def spark_software(context: Context) -> SparkSoftware:
    """What was found for Spark."""
    if not context.software.spark:
        raise OodRuntimeError("this app was planned without looking for Spark")
    return context.software.spark

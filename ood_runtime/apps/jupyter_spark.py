"""Jupyter with a Spark cluster: two parts side by side, and kernels that join them (paper, section 4.1)."""

from collections.abc import Mapping

from ood_runtime import (
    kernel_cache,
    spark_cluster,
    spark_connect,
    spark_driver,
    spark_r,
    spark_software,
    spark_ui,
    spark_ui_entrance,
)
from ood_runtime.apps import jupyter
from ood_runtime.context import Context, Software, SparkSoftware
from ood_runtime.errors import find_all
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.plan import Plan, combine
from ood_runtime.settings import Settings


class JupyterSparkApp:
    """Jupyter with a Spark cluster on the nodes of the job."""

    name = "jupyter-spark"
    summary = "Jupyter with a Spark cluster on the nodes of the job"
    ports: tuple[str, ...] = (jupyter.PORT, *spark_cluster.PORTS, spark_r.PORT, spark_ui.PORT)
    secrets: Mapping[str, str] = jupyter.SECRETS | spark_cluster.SECRETS | spark_ui.SECRETS

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """Jupyter, Spark, Java, and a Python for notebooks that Jupyter can start."""
        jupyters: list[Jupyter] = []
        sparks: list[SparkSoftware] = []
        find_all(
            lambda: jupyters.append(jupyter.find(settings, environment)),
            lambda: sparks.append(spark_software.find(settings.spark, next(iter(jupyters), None), environment)),
        )
        kernels = kernel_cache.read(settings.kernels, environment)
        return Software(jupyter=jupyters[0], spark=sparks[0], kernels=kernels)

    def plan(self, context: Context) -> Plan:
        """The server and the cluster."""
        kernels = spark_connect.kernels(context)
        # Static kernelspecs find their scripts through these.
        variables = {
            f"OOD_RUNTIME_{name.upper().replace('-', '_')}_KERNEL": str(path) for name, path in kernels.items()
        }
        environment = {**variables, **spark_r.environment(context)}
        server = jupyter.server(
            context,
            kernels=tuple(kernels),
            environment=environment,
            head_start=_head_start(context),
            pages=_spark_pages(context),
        )
        directory = jupyter.root_directory(context)
        return combine(
            self.name,
            jupyter.url(context),
            server,
            spark_connect.shared_kernel(context),
            spark_r.r_sessions(context),
            spark_r.notebook_kernel(context),
            spark_cluster.cluster(context, directory),
            spark_driver.pyspark_kernel(context, directory, environment),
            spark_ui_entrance.entrance(context),
        )


def _spark_pages(context: Context) -> jupyter.Pages | None:
    tile = spark_ui_entrance.tile(context)
    return jupyter.Pages(spark_ui.NAME, spark_ui_entrance.EXTENSION, tile) if tile else None


def _head_start(context: Context) -> float:
    """On two processors a worker that follows its master takes longest: those first, for half of the time they need."""
    return 0.7 if context.allocation.nodes[0].cpus <= 2 else 0.0


APP = JupyterSparkApp()

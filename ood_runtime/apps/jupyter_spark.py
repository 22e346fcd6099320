"""Jupyter with a Spark cluster: two parts side by side, and kernels that join them (paper, section 4.1)."""

from collections.abc import Mapping

from ood_runtime import spark_cluster, spark_connect, spark_driver, spark_r, spark_software
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
    ports: tuple[str, ...] = (jupyter.PORT, *spark_cluster.PORTS, spark_r.PORT)
    secrets: Mapping[str, str] = jupyter.SECRETS | spark_cluster.SECRETS

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """Jupyter, Spark, Java, and a Python for notebooks that Jupyter can start."""
        jupyters: list[Jupyter] = []
        sparks: list[SparkSoftware] = []
        find_all(
            lambda: jupyters.append(jupyter.find(settings, environment)),
            lambda: sparks.append(spark_software.find(settings.spark, next(iter(jupyters), None), environment)),
        )
        return Software(jupyter=jupyters[0], spark=sparks[0])

    def plan(self, context: Context) -> Plan:
        """The server and the cluster."""
        kernels = spark_connect.kernels(context)
        # Static kernelspecs find their scripts through these.
        variables = {
            f"OOD_RUNTIME_{name.upper().replace('-', '_')}_KERNEL": str(path) for name, path in kernels.items()
        }
        environment = {**variables, **spark_r.environment(context)}
        return combine(
            self.name,
            jupyter.url(context),
            jupyter.server(context, kernels=tuple(kernels), environment=environment, head_start=_head_start(context)),
            spark_connect.shared_kernel(context),
            spark_r.r_sessions(context),
            spark_cluster.cluster(context, jupyter.root_directory(context)),
            spark_driver.pyspark_kernel(context, jupyter.root_directory(context), environment),
        )


def _head_start(context: Context) -> float:
    """On two processors a worker that follows its master takes longest: those first, for half of the time they need."""
    return 0.5 if context.allocation.nodes[0].cpus <= 2 else 0.0


APP = JupyterSparkApp()

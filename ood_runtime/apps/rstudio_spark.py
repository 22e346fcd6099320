"""RStudio Server with a Spark cluster: two parts side by side, and R sessions that join them (paper, section 4.2)."""

from collections.abc import Mapping

from ood_runtime import spark_cluster, spark_r, spark_software, spark_ui, spark_ui_entrance
from ood_runtime.apps import rstudio
from ood_runtime.context import Context, Software, SparkSoftware
from ood_runtime.errors import find_all
from ood_runtime.plan import Plan, combine
from ood_runtime.rstudio_home import RStudio
from ood_runtime.settings import Settings


class RStudioSparkApp:
    """RStudio Server with a Spark cluster on the nodes of the job."""

    name = "rstudio-spark"
    summary = "RStudio Server with a Spark cluster on the nodes of the job"
    ports: tuple[str, ...] = (*rstudio.PORTS, *spark_cluster.PORTS, spark_r.PORT, spark_ui.PORT)
    secrets: Mapping[str, str] = rstudio.SECRETS | spark_cluster.SECRETS | spark_ui.SECRETS

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """RStudio Server, R, Spark and Java."""
        rstudios: list[RStudio] = []
        sparks: list[SparkSoftware] = []
        find_all(
            lambda: rstudios.append(rstudio.find(settings, environment)),
            lambda: sparks.append(spark_software.find(settings.spark, None, environment, kernel=False)),
        )
        return Software(rstudio=rstudios[0], spark=sparks[0])

    def plan(self, context: Context) -> Plan:
        """The server and the cluster."""
        return combine(
            self.name,
            rstudio.url(context),
            rstudio.server(context, spark_r.environment(context)),
            spark_r.r_sessions(context),
            spark_cluster.cluster(context, context.directories.session),
            spark_ui_entrance.entrance(context),
        )


APP = RStudioSparkApp()

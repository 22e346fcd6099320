"""The only place that knows how notebooks and R sessions share a cluster: the setting ``spark.sharing``.

``one``      the first application has all cores until it ends (paper, section 4.1)
``fair``     an application may use all processors and one of ``shares`` parts of the memory (``spark_sizes``), and
             gives back what it does not use
``connect``  as fair, and notebooks may share one driver (``spark_connect``)
"""

from collections.abc import Mapping

from ood_runtime.settings.model import Spark as SparkSettings
from ood_runtime.spark_sizes import Sizes


def entries(settings: SparkSettings, sizes: Sizes) -> dict[str, str]:
    """What a driver of its own is told."""
    limit = {} if sizes.most_cores is None else {"spark.cores.max": str(sizes.most_cores)}
    if settings.sharing == "one":
        return {**limit, "spark.dynamicAllocation.enabled": "false"}
    most = sizes.executors
    if sizes.most_cores is not None:
        most = min(most, max(1, sizes.most_cores // sizes.executor_cores))
    return limit | _dynamic(settings, most)


def shared_entries(settings: SparkSettings, sizes: Sizes, entries: Mapping[str, str]) -> dict[str, str]:
    """What the driver is told that notebooks share: ``entries`` of the others, without what limits one notebook."""
    own = {**_dynamic(settings, sizes.executors), "spark.scheduler.mode": "FAIR", "spark.cores.max": str(sizes.cores)}
    return {**entries, **{key: value for key, value in own.items() if key not in settings.conf}}


def warm(settings: SparkSettings) -> str:
    """What is kept warm for the first notebook with a driver of its own; where there is a shared driver, that is it."""
    return "off" if settings.sharing == "connect" else settings.warm


def _dynamic(settings: SparkSettings, executors: int) -> dict[str, str]:
    return {
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "0",
        # All at once for a new notebook: asking for 1, 2, 4 ... takes a second each time.
        "spark.dynamicAllocation.initialExecutors": str(executors),
        "spark.dynamicAllocation.executorIdleTimeout": f"{settings.executor.idle_seconds}s",
        # Else every executor stays that has taken part in a shuffle; what is missing later is computed again.
        "spark.dynamicAllocation.shuffleTracking.timeout": f"{settings.executor.idle_seconds}s",
    }

"""How much of a node each part of a Spark session gets. Pure arithmetic, in cores and bytes.

node's memory = system + Jupyter + master and worker processes + drivers + what executors use
what executors use = heaps (which Spark counts) + Python workers and other memory outside the heap
"""

from dataclasses import dataclass

from ood_runtime.allocation import Node
from ood_runtime.errors import SettingsError
from ood_runtime.settings.model import Spark as SparkSettings
from ood_runtime.settings.sizes import GIB, MIB, text

JUPYTER_MEMORY = 512 * MIB  # the server, and the notebook's own Python
# Share of the executors' memory that their heaps may take. The rest is for Python workers, which hold a copy of
# what they work on, and for the JVM's own memory outside the heap.
HEAP_SHARE = 0.7
LEAST_EXECUTOR = 450 * MIB  # Spark refuses less (1.5 times its reserved memory)
MOST_CORES = 8  # of one executor: larger heaps spend their time in garbage collection


@dataclass(frozen=True)
class Sizes:
    """Memory in bytes. ``worker_memory`` is what a worker offers for heaps; ``driver_memory`` a driver's heap."""

    worker_cores: int
    worker_memory: int
    executor_cores: int
    executor_memory: int
    driver_memory: int


def compute(node: Node, settings: SparkSettings) -> Sizes:
    """The sizes on the node that runs Jupyter, one driver, the master and a worker.

    Raises SettingsError when the settings cannot be met: an executor that no worker can hold.
    """
    cores = settings.worker.cores or max(1, node.cpus - (1 if node.cpus >= 4 else 0))
    driver = settings.driver.memory or _whole(min(max(node.memory // 8, GIB), 16 * GIB))
    memory = settings.worker.memory or _worker_memory(node, settings, driver)
    executor_cores = settings.executor.cores or _part(cores, memory)
    executors = max(1, cores // executor_cores)
    executor_memory = settings.executor.memory or _whole(memory // executors)
    if driver + memory > node.memory:
        raise SettingsError(
            f"a driver of {text(driver)} and a worker of {text(memory)} are more than this job has here: "
            f"{text(_whole(node.memory))} of memory",
            remedy="lower spark.driver.memory or spark.worker.memory, or ask the scheduler for more",
        )
    _check(settings, cores, memory, executor_cores, executor_memory)
    return Sizes(
        worker_cores=cores,
        worker_memory=memory,
        executor_cores=executor_cores,
        executor_memory=executor_memory,
        driver_memory=driver,
    )


def _worker_memory(node: Node, settings: SparkSettings, driver: int) -> int:
    reserved = JUPYTER_MEMORY + 2 * settings.master_memory + driver + driver // 10
    left = int((node.memory - reserved) * HEAP_SHARE)
    if left < LEAST_EXECUTOR:
        raise SettingsError(
            f"{text(_whole(node.memory))} of memory are too little for Jupyter, a Spark driver of {text(driver)} and a "
            "worker",
            remedy="ask the scheduler for more memory, or set spark.driver.memory and spark.worker.memory",
        )
    return _whole(left)


def _check(settings: SparkSettings, cores: int, memory: int, executor_cores: int, executor_memory: int) -> None:
    if executor_cores > cores:
        raise SettingsError(
            f"spark.executor.cores: {executor_cores} are more than a worker's {cores} cores; no executor could start"
        )
    if executor_memory > memory:
        raise SettingsError(
            f"spark.executor.memory: {text(executor_memory)} is more than a worker's {text(memory)}; no executor could "
            "start",
            remedy="lower it, or set spark.worker.memory",
        )
    if executor_memory < LEAST_EXECUTOR:
        key = "spark.executor.memory" if settings.executor.memory else "spark.worker.memory"
        raise SettingsError(
            f"{key}: an executor would have {text(executor_memory)}; Spark needs {text(LEAST_EXECUTOR)} at least",
            remedy="use fewer executors for each worker (spark.executor.cores), or more memory",
        )


def _part(cores: int, memory: int) -> int:
    """Cores of one executor: all, or equal parts of at most MOST_CORES as far as the memory goes round."""
    parts = min(-(-cores // MOST_CORES), memory // LEAST_EXECUTOR)
    return cores // max(1, parts)


def _whole(amount: int) -> int:
    """Whole MiB, as Spark counts."""
    return amount // MIB * MIB

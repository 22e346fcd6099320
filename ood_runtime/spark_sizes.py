"""How much of a node each part of a Spark session gets. Pure arithmetic, in cores and bytes.

Notebooks that compute at the same time share the processors, as all programs do: each has as many threads as there are
cores. Memory cannot be shared so: each has a part of its own, and there are ``shares`` of them.

first node's memory = system + Jupyter + master and worker processes + drivers + what executors use
other nodes' memory = system + worker processes + what executors use
what executors use = heaps (which Spark counts) + Python workers and other memory outside the heap
"""

import math
from collections.abc import Sequence
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
class Offer:
    """What one worker offers to executors: cores, and bytes for their heaps."""

    cores: int
    memory: int

    def executors(self, cores: int, memory: int) -> int:
        """How many executors of this size fit in."""
        return min(self.cores // cores, self.memory // memory)


@dataclass(frozen=True)
class Sizes:
    """Memory in bytes. ``worker`` is each of the first node's workers, None where it has none, and ``driver_memory`` is
    a driver's heap.

    ``executors`` are all that one notebook can have, on all nodes, of ``cores`` together. There is memory for
    ``shares`` notebooks that do; ``most_cores`` are those that one may hold, None for all that there are.
    """

    worker: Offer | None
    executor_cores: int
    executor_memory: int
    executors: int
    driver_memory: int
    shares: int = 1
    most_cores: int | None = None

    @property
    def cores(self) -> int:
        """Those of all executors of one notebook."""
        return self.executors * self.executor_cores

    def told(self, cores: int) -> int:
        """The cores that a worker with ``cores`` tells Spark, which gives each of them to one notebook only."""
        return cores * self.shares


def compute(nodes: Sequence[Node], settings: SparkSettings) -> Sizes:
    """The sizes in a job: Jupyter, one driver and the master are on the first of ``nodes``, workers on all.

    Raises SettingsError when the settings cannot be met: an executor that no worker can hold.
    """
    first, *others = nodes
    if settings.driver_only and not others:
        raise SettingsError(
            "spark.driver_only: this job has one node, and no other for the workers",
            remedy="ask the scheduler for more nodes, or set it to false",
        )
    driver = settings.driver.memory or _driver_memory(first, settings)
    worker = None if settings.driver_only else _beside_driver(first, settings, driver)
    offers = [*([worker] if worker else []), *(_alone(node, settings) for node in others)]
    smallest = Offer(min(offer.cores for offer in offers), min(offer.memory for offer in offers))
    limit = _limit(settings, settings.workers_per_node * sum(offer.cores for offer in offers))
    shares = _shares(settings, smallest)
    cores = settings.executor.cores or min(_part(smallest.cores, smallest.memory // shares), limit or smallest.cores)
    parts = [Offer(offer.cores, offer.memory // shares) for offer in offers]
    memory = settings.executor.memory or min(_whole(part.memory // max(1, part.cores // cores)) for part in parts)
    if not settings.executor.memory and not settings.executor.cores:
        # A node with many cores and little memory runs fewer.
        memory = max(memory, min(LEAST_EXECUTOR, smallest.memory))
    _check(settings, Offer(max(o.cores for o in offers), max(o.memory for o in offers)), cores, memory)
    executors = settings.workers_per_node * sum(part.executors(cores, memory) for part in parts)
    if not executors:
        raise SettingsError(
            f"no worker has the {cores} cores and {text(memory)} of memory together that an executor would have",
            remedy="lower spark.executor.cores or spark.executor.memory",
        )
    most = limit or (executors * cores if shares > 1 else None)
    return Sizes(worker, cores, memory, executors, driver, shares, most)


def _limit(settings: SparkSettings, total: int) -> int | None:
    """The most cores of one notebook that the settings name, of ``total``; None when they name none."""
    asked = settings.cores_per_application
    if asked is None:
        return None
    limit = max(1, total * int(asked[:-1]) // 100) if asked.endswith("%") else int(asked)
    if settings.executor.cores and settings.executor.cores > limit:
        raise SettingsError(
            f"spark.cores_per_application: {asked} of {total} cores are fewer than the {settings.executor.cores} of "
            "one executor; no notebook would get any",
            remedy="raise it, or lower spark.executor.cores",
        )
    return limit


def _shares(settings: SparkSettings, smallest: Offer) -> int:
    """How many notebooks there is memory for, of those that the settings want."""
    if settings.sharing == "one" or settings.gpu.enabled:  # a graphics processor is one executor's alone
        return 1
    return max(1, min(settings.shares, smallest.memory // (settings.executor.memory or LEAST_EXECUTOR)))


def _driver_memory(node: Node, settings: SparkSettings) -> int:
    if settings.driver_only:
        return max(GIB, _whole(int((node.memory - JUPYTER_MEMORY - settings.master_memory) * HEAP_SHARE)))
    return _whole(min(max(node.memory // 8, GIB), 16 * GIB))


def _beside_driver(node: Node, settings: SparkSettings, driver: int) -> Offer:
    """What each worker offers on the node that runs Jupyter, the driver and the master."""
    count = settings.workers_per_node
    memory = settings.worker.memory or _memory_beside_driver(node, settings, driver)
    if driver + count * memory > node.memory:
        workers = "a worker" if count == 1 else f"{count} workers"
        raise SettingsError(
            f"a driver of {text(driver)} and {workers} of {text(memory)} are more than this job has here: "
            f"{text(_whole(node.memory))} of memory",
            remedy="lower spark.driver.memory or spark.worker.memory, or ask the scheduler for more",
        )
    return Offer(settings.worker.cores or _cores(node.cpus - (1 if node.cpus >= 4 else 0), count), memory)


def _memory_beside_driver(node: Node, settings: SparkSettings, driver: int) -> int:
    count = settings.workers_per_node
    reserved = JUPYTER_MEMORY + (1 + count) * settings.master_memory + driver + driver // 10
    left = int((node.memory - reserved) * HEAP_SHARE) // count
    if left < LEAST_EXECUTOR:
        least = reserved + math.ceil(count * LEAST_EXECUTOR / HEAP_SHARE)
        workers = "a worker" if count == 1 else f"{count} workers"
        raise SettingsError(
            f"{text(_whole(node.memory))} of memory are too little for Jupyter, a Spark driver of {text(driver)} and "
            f"{workers}, which need {text(_whole(least + MIB))}",
            remedy="ask the scheduler for more memory, or set spark.driver.memory lower",
        )
    return _whole(left)


def _alone(node: Node, settings: SparkSettings) -> Offer:
    """What each worker offers on a node that has nothing else, as the worker's script computes it there."""
    count = settings.workers_per_node
    # The script counts in whole MiB, and nodes of one kind differ by some: what is planned here must fit there.
    memory = settings.worker.memory or _whole(int((node.memory * 0.99 // count - settings.master_memory) * HEAP_SHARE))
    if memory < LEAST_EXECUTOR:
        raise SettingsError(
            f"{text(_whole(node.memory))} of memory on {node.host} are too little for Spark's workers there",
            remedy="ask the scheduler for more memory, or set spark.workers_per_node lower",
        )
    return Offer(settings.worker.cores or _cores(node.cpus, count), memory)


def _cores(cpus: int, workers: int) -> int:
    return max(1, cpus // workers)


def _check(settings: SparkSettings, largest: Offer, cores: int, memory: int) -> None:
    """``largest`` has the most cores and memory of all workers."""
    if cores > largest.cores:
        raise SettingsError(
            f"spark.executor.cores: {cores} are more than a worker's {largest.cores} cores; no executor could start"
        )
    if memory > largest.memory:
        raise SettingsError(
            f"spark.executor.memory: {text(memory)} is more than a worker's {text(largest.memory)}; no executor could "
            "start",
            remedy="lower it, or set spark.worker.memory",
        )
    if memory < LEAST_EXECUTOR:
        key = "spark.executor.memory" if settings.executor.memory else "spark.worker.memory"
        raise SettingsError(
            f"{key}: an executor would have {text(memory)}; Spark needs {text(LEAST_EXECUTOR)} at least",
            remedy="use fewer executors for each worker (spark.executor.cores), or more memory",
        )


def _part(cores: int, memory: int) -> int:
    """Cores of one executor: all, or equal parts of at most MOST_CORES, as far as the memory goes round."""
    parts = min(-(-cores // MOST_CORES), memory // LEAST_EXECUTOR)
    return cores // max(1, parts)


def _whole(amount: int) -> int:
    """Whole MiB, as Spark counts."""
    return amount // MIB * MIB

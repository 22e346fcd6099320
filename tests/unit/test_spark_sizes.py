"""How a node is shared out: it always fits, and what cannot fit is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime.allocation import Node
from ood_runtime.errors import SettingsError
from ood_runtime.settings.model import Spark
from ood_runtime.settings.sizes import GIB, MIB
from ood_runtime.spark_sizes import JUPYTER_MEMORY, LEAST_EXECUTOR, MOST_CORES, Offer, Sizes, compute

CPUS = st.integers(1, 512)
MEMORY = st.integers(64, 8 * 1024 * 1024).map(lambda mib: mib * MIB + 12345)


def spark(**sections: dict[str, object]) -> Spark:
    return Spark.model_validate(sections)


def fits(node: Node, settings: Spark, sizes: Sizes) -> None:
    assert sizes.worker is not None
    executors = sizes.executors
    assert executors >= 1
    assert executors * sizes.executor_cores <= sizes.worker.cores
    assert LEAST_EXECUTOR <= sizes.executor_memory <= sizes.worker.memory
    if not settings.executor.memory:
        assert executors * sizes.executor_memory <= sizes.worker.memory


@given(CPUS, MEMORY)
def test_what_is_computed_fits_the_node(cpus: int, memory: int) -> None:
    node, settings = Node("n", cpus, memory), Spark()
    try:
        sizes = compute([node], settings)
    except SettingsError:
        return
    fits(node, settings, sizes)
    worker = sizes.worker
    assert worker is not None
    assert worker.cores <= cpus
    if sizes.executor_cores > MOST_CORES:
        assert worker.memory // sizes.shares < LEAST_EXECUTOR * (worker.cores // sizes.executor_cores + 1), (
            "cut no smaller"
        )
    used = JUPYTER_MEMORY + 2 * settings.master_memory + sizes.driver_memory + worker.memory
    assert used <= memory
    assert worker.memory * 0.3 / 0.7 <= memory - used + MIB, "Python workers need room beside the heaps"
    assert all(amount % MIB == 0 for amount in (worker.memory, sizes.executor_memory, sizes.driver_memory))


@given(
    CPUS,
    MEMORY,
    st.none() | st.integers(1, 64),
    st.none() | st.integers(1, 64),
    st.none() | st.integers(512, 65536),
    st.none() | st.integers(450, 65536),
    st.none() | st.integers(512, 65536),
)
def test_executors_fit_the_worker_whatever_is_set(
    cpus: int,
    memory: int,
    worker_cores: int | None,
    executor_cores: int | None,
    worker_memory: int | None,
    executor_memory: int | None,
    driver_memory: int | None,
) -> None:
    def mib(amount: int | None) -> str | None:
        return f"{amount}m" if amount else None

    settings = spark(
        worker={"cores": worker_cores, "memory": mib(worker_memory)},
        executor={"cores": executor_cores, "memory": mib(executor_memory)},
        driver={"memory": mib(driver_memory)},
    )
    node = Node("n", cpus, memory)
    try:
        sizes = compute([node], settings)
    except SettingsError as error:
        assert "spark." in error.what + error.remedy
        return
    fits(node, settings, sizes)
    assert sizes.worker is not None
    for asked, given_size in (
        (worker_cores, sizes.worker.cores),
        (executor_cores, sizes.executor_cores),
        ((worker_memory or 0) * MIB, sizes.worker.memory),
        ((executor_memory or 0) * MIB, sizes.executor_memory),
        ((driver_memory or 0) * MIB, sizes.driver_memory),
    ):
        assert not asked or asked == given_size


@given(st.integers(1, 512), st.integers(16, 512))
def test_more_memory_never_gives_a_smaller_worker(cpus: int, gib: int) -> None:
    def worker(gib: int) -> int:
        settings = spark(executor={"cores": cpus if cpus < 4 else cpus - 1})
        offer = compute([Node("n", cpus, gib * GIB)], settings).worker
        assert offer is not None
        return offer.memory

    assert worker(gib + 1) > worker(gib)


@pytest.mark.parametrize(
    ("cpus", "gib", "expected"),
    [
        (1, 8, Sizes(Offer(1, 3870 * MIB), 1, 3870 * MIB, 1, GIB)),
        (4, 16, Sizes(Offer(3, 8816 * MIB), 3, 8816 * MIB, 1, 2 * GIB)),  # one notebook has it all
    ],
)
def test_some_nodes(cpus: int, gib: int, expected: Sizes) -> None:
    assert compute([Node("n", cpus, gib * GIB)], Spark(sharing="one")) == expected


def test_large_workers_are_cut_into_equal_executors() -> None:
    sizes = compute([Node("n", 33, 512 * GIB)], Spark())
    assert sizes.worker is not None
    assert (sizes.worker.cores, sizes.executor_cores, sizes.executors) == (32, 8, 4)
    assert sizes.driver_memory == 16 * GIB


def test_a_node_that_is_too_small_says_so() -> None:
    with pytest.raises(
        SettingsError, match=r"2g of memory are too little.*a Spark driver of 1g.*need 3\d{3}m"
    ) as caught:
        compute([Node("n", 2, 2 * GIB)], Spark())
    assert "ask the scheduler for more memory" in caught.value.remedy


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"executor": {"cores": 5}}, "spark.executor.cores: 5 are more than a worker's 3 cores"),
        ({"executor": {"memory": "64g"}}, "spark.executor.memory: 64g is more than a worker's"),
        ({"worker": {"memory": "512m"}, "executor": {"cores": 1}}, "spark.worker.memory: an executor would have 170m"),
        ({"driver": {"memory": "15g"}}, "a Spark driver of 15g"),
    ],
)
def test_settings_that_cannot_be_met(sections: dict[str, dict[str, object]], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        compute([Node("n", 4, 16 * GIB)], spark(**sections))


def test_a_driver_and_a_worker_that_do_not_fit_together() -> None:
    with pytest.raises(SettingsError, match="memory"):
        compute([Node("n", 4, 8 * GIB)], spark(driver={"memory": "64g"}, worker={"memory": "64g"}))


def test_many_cores_and_little_memory_still_give_a_cluster() -> None:
    node = Node("n", 32, 4 * GIB)
    sizes = compute([node], Spark())
    fits(node, Spark(), sizes)

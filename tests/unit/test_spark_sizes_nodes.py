"""How the nodes of a job are shared out: executors fit on all of them, and what cannot fit is an error."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime.allocation import Node
from ood_runtime.errors import SettingsError
from ood_runtime.settings.model import Spark
from ood_runtime.settings.sizes import GIB, MIB
from ood_runtime.spark_sizes import JUPYTER_MEMORY, LEAST_EXECUTOR, Offer, Sizes, compute

NODES = st.lists(
    st.builds(Node, st.just("n"), st.integers(1, 256), st.integers(GIB, 1024 * GIB)), min_size=2, max_size=6
)
SHAPE = st.builds(
    lambda per_node, driver_only: {"workers_per_node": per_node, "driver_only": driver_only},
    st.integers(1, 9),
    st.booleans(),
)


def spark(**sections: Any) -> Spark:
    return Spark.model_validate(sections)


def on_another(node: Node, settings: Spark) -> Offer:
    """What a worker's script finds for itself: see ``measure`` of spark_remote_node.sh.j2."""
    count, reserve = settings.workers_per_node, settings.master_memory // MIB
    heap = (node.memory // MIB // count - reserve) * 70 // 100
    memory = (settings.worker.memory or heap * MIB) // MIB * MIB
    return Offer(settings.worker.cores or max(1, node.cpus // count), memory)


def offers(nodes: list[Node], settings: Spark, sizes: Sizes) -> list[Offer]:
    own = [sizes.worker] if sizes.worker else []
    return [*own, *(on_another(node, settings) for node in nodes[1:])]


@given(NODES, SHAPE)
def test_an_executor_fits_into_every_worker_of_every_node(nodes: list[Node], shape: dict[str, object]) -> None:
    settings = spark(**shape)
    try:
        sizes = compute(nodes, settings)
    except SettingsError:
        return
    assert (sizes.worker is None) == settings.driver_only
    assert sizes.executor_memory >= LEAST_EXECUTOR
    held = [offer.executors(sizes.executor_cores, sizes.executor_memory) for offer in offers(nodes, settings, sizes)]
    assert min(held) >= 1
    assert 1 <= sizes.executors <= settings.workers_per_node * sum(held)


@given(NODES, SHAPE)
def test_the_first_node_holds_everything(nodes: list[Node], shape: dict[str, object]) -> None:
    settings = spark(**shape)
    try:
        sizes = compute(nodes, settings)
    except SettingsError:
        return
    used = JUPYTER_MEMORY + settings.master_memory + sizes.driver_memory
    if sizes.worker:
        count = settings.workers_per_node
        used += count * (settings.master_memory + sizes.worker.memory)
        assert count * sizes.worker.cores <= max(count, nodes[0].cpus)
    assert used <= nodes[0].memory or (settings.driver_only and sizes.driver_memory == GIB)


@given(
    NODES,
    SHAPE,
    st.none() | st.integers(1, 64),
    st.none() | st.integers(450, 65536),
    st.none() | st.integers(512, 65536),
)
def test_what_is_asked_for_is_given_or_refused(
    nodes: list[Node], shape: dict[str, object], cores: int | None, executor: int | None, worker: int | None
) -> None:
    settings = spark(
        **shape,
        executor={"cores": cores, "memory": executor and f"{executor}m"},
        worker={"memory": worker and f"{worker}m"},
    )
    try:
        sizes = compute(nodes, settings)
    except SettingsError as error:
        assert "spark." in error.what + error.remedy
        return
    assert not cores or sizes.executor_cores == cores
    assert not executor or sizes.executor_memory == executor * MIB
    found = offers(nodes, settings, sizes)
    assert any(offer.executors(sizes.executor_cores, sizes.executor_memory) for offer in found), "none could start"


def test_equal_nodes() -> None:
    sizes = compute([Node(f"n{i}", 16, 64 * GIB) for i in range(4)], Spark())
    assert sizes.worker is not None
    assert (sizes.worker.cores, sizes.executor_cores) == (15, 7)
    assert sizes.executors == 8
    assert sizes.driver_memory == 8 * GIB


def test_the_smallest_node_decides_how_large_an_executor_is() -> None:
    large, small = Node("n1", 64, 512 * GIB), Node("n2", 2, 8 * GIB)
    sizes = compute([large, small, large], Spark(sharing="one"))
    assert sizes.executor_cores == 2
    assert sizes.executor_memory <= on_another(small, Spark()).memory
    assert sizes.executors > 30, "larger nodes hold more of them"


def test_a_driver_alone_has_the_first_nodes_memory() -> None:
    nodes = [Node("n1", 8, 32 * GIB), Node("n2", 8, 32 * GIB)]
    sizes = compute(nodes, spark(driver_only=True))
    assert sizes.worker is None
    assert 20 * GIB < sizes.driver_memory < 23 * GIB
    assert compute(nodes, spark(driver_only=True, driver={"memory": "3g"})).driver_memory == 3 * GIB


def test_a_driver_alone_needs_another_node() -> None:
    with pytest.raises(SettingsError, match=r"spark\.driver_only: this job has one node") as caught:
        compute([Node("n1", 8, 32 * GIB)], spark(driver_only=True))
    assert "more nodes" in caught.value.remedy


def test_workers_of_a_node_share_it() -> None:
    nodes = [Node("n1", 8, 64 * GIB), Node("n2", 8, 64 * GIB)]
    sizes = compute(nodes, spark(workers_per_node=2))
    assert sizes.worker is not None
    assert sizes.worker.cores == 3, "one core is for Jupyter and the driver"
    assert sizes.executors == 4


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"workers_per_node": 16}, "n2 are too little for Spark's workers there"),
        ({"executor": {"cores": 9}}, "spark.executor.cores: 9 are more than a worker's 8 cores"),
        ({"executor": {"memory": "64g"}}, "spark.executor.memory: 64g is more than a worker's"),
        ({"driver": {"memory": "60g"}}, "a Spark driver of 60g"),
    ],
)
def test_what_cannot_be_met(settings: dict[str, object], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        compute([Node("n1", 8, 64 * GIB), Node("n2", 8, 8 * GIB)], spark(**settings))

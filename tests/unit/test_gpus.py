"""Graphics processors of the first node: which worker gets which, and what Spark is told."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import gpus
from ood_runtime.allocation import Node
from ood_runtime.context import Context
from ood_runtime.errors import SettingsError
from ood_runtime.settings.sizes import GIB
from tests.unit.several_nodes import PRIVATE, context
from tests.unit.several_nodes import service as service_of
from tests.unit.several_nodes import text as text_of
from tests.unit.test_spark_workers import workers


def job(environment: Mapping[str, str] | None = None, told: int = 0, **spark: Any) -> Context:
    """A job with ``told`` devices on its first node, as its scheduler says."""
    nodes = [Node("n0", 8, 32 * GIB, told), Node("n1", 8, 32 * GIB, told)]
    return context(nodes, environment, gpu={"enabled": True}, **spark)


@pytest.mark.parametrize(
    ("environment", "told", "devices"),
    [
        ({}, 2, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "3, 5,"}, 2, ["3", "5"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-4f,MIG-a/b"}, 0, ["GPU-4f", "MIG-a/b"]),
        ({"ROCR_VISIBLE_DEVICES": "1"}, 4, ["1"]),
        ({"ROCR_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "0"}, 4, ["0"]),
    ],
)
def test_which_devices_there_are(environment: Mapping[str, str], told: int, devices: list[str]) -> None:
    assert gpus.shares(job(environment, told), 1) == {0: devices}


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", " , "])
def test_a_job_without_any(visible: str) -> None:
    with pytest.raises(SettingsError, match=r"spark\.gpu\.enabled: this job has no GPU") as caught:
        gpus.shares(job({"CUDA_VISIBLE_DEVICES": visible}, told=4), 1)
    assert "spark.driver_only" in caught.value.remedy
    with pytest.raises(SettingsError):
        gpus.shares(job(), 1)


def test_nobody_asked() -> None:
    assert gpus.shares(context(2, {"CUDA_VISIBLE_DEVICES": "0"}), 2) == {}
    assert gpus.properties(context(2), 0, None) == {}
    assert gpus.environment({"CUDA_VISIBLE_DEVICES": "0"}, None) == {}


@given(st.integers(1, 64), st.integers(1, 64))
def test_every_device_has_one_worker(devices: int, workers: int) -> None:
    shares = gpus.shares(job(told=devices), workers)
    assert list(shares) == list(range(workers))
    assert [device for share in shares.values() for device in share] == [str(number) for number in range(devices)]
    assert max(map(len, shares.values())) - min(map(len, shares.values())) <= 1


def test_a_worker_sees_its_own_devices_only_and_counts_them_from_0() -> None:
    part = workers(job({"CUDA_VISIBLE_DEVICES": "4,5,6,7"}, workers_per_node=2))
    for rank, own in enumerate(("4,5", "6,7")):
        assert service_of(part, f"spark-worker-{rank}").environment == {"CUDA_VISIBLE_DEVICES": own}
        (entry,) = json.loads(text_of(part, f"spark/gpus-{rank}.json"))
        assert entry == {"id": {"componentName": "spark.worker", "resourceName": "gpu"}, "addresses": ["0", "1"]}
        arguments = text_of(part, f"spark/worker-{rank}.args")
        assert "-Dspark.worker.resource.gpu.amount=2" in arguments
        assert f"-Dspark.worker.resourcesFile={PRIVATE}/spark/gpus-{rank}.json" in arguments


def test_amds_devices_are_shown_by_their_own_variable() -> None:
    part = workers(job({"ROCR_VISIBLE_DEVICES": "2"}))
    assert service_of(part, "spark-worker-0").environment == {"ROCR_VISIBLE_DEVICES": "2"}


def test_a_first_node_without_worker_needs_none() -> None:
    part = workers(job({"CUDA_VISIBLE_DEVICES": ""}, driver_only=True))
    assert "take_gpus" in text_of(part, "spark/remote-worker.sh")
    assert not [file.name for file in part.files if "gpus" in file.name]

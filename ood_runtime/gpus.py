"""Graphics processors of the workers on the first node; those of other nodes are found by the worker's script there.

Spark's standalone workers read which ones are theirs from a file (Spark's documentation, "Custom Resource Scheduling").
"""

import json
from collections.abc import Mapping

from ood_runtime.context import Context
from ood_runtime.errors import SettingsError

_VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")


def shares(context: Context, workers: int) -> dict[int, list[str]]:
    """The devices of each of this node's ``workers``, by rank, as even as can be; none when GPUs are not asked for.

    Raises SettingsError when they are asked for and the job has none here.
    """
    if not context.settings.spark.gpu.enabled:
        return {}
    devices = _devices(context)
    if not devices:
        raise SettingsError(
            "spark.gpu.enabled: this job has no GPU on its first node",
            remedy="ask the scheduler for GPUs, or set spark.driver_only when only the other nodes have some",
        )
    ends = [rank * len(devices) // workers for rank in range(workers + 1)]
    return {rank: devices[ends[rank] : ends[rank + 1]] for rank in range(workers)}


def resources(devices: list[str]) -> str:
    """The file that tells a worker what it has. It shows its executors only these, and they count them from 0."""
    names = [str(index) for index in range(len(devices))]
    return json.dumps([{"id": {"componentName": "spark.worker", "resourceName": "gpu"}, "addresses": names}])


def properties(context: Context, rank: int, devices: list[str] | None) -> dict[str, object]:
    """What the worker is told about its devices."""
    if devices is None:
        return {}
    return {
        "spark.worker.resource.gpu.amount": len(devices),
        "spark.worker.resourcesFile": context.directories.private / file_name(rank),
    }


def environment(job: Mapping[str, str], devices: list[str] | None) -> dict[str, str]:
    """The variable that shows a worker and its executors their own devices, and no others."""
    return {} if devices is None else {_variable(job): ",".join(devices)}


def file_name(rank: int) -> str:
    """The file of a worker in the session's private directory."""
    return f"spark/gpus-{rank}.json"


def _devices(context: Context) -> list[str]:
    visible = context.environment.get(_variable(context.environment))
    if visible is None:
        return [str(index) for index in range(context.allocation.nodes[0].gpus)]
    devices = [word.strip() for word in visible.split(",") if word.strip()]
    return [] if devices[:1] in (["-1"], ["NoDevFiles"]) else devices


def _variable(job: Mapping[str, str]) -> str:
    return next((name for name in _VISIBLE if name in job), _VISIBLE[0])

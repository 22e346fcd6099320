"""The only place that joins what a scheduler says of a job's nodes with what holds on the node that we run on."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ood_runtime import limits
from ood_runtime.allocation import Allocation, Node
from ood_runtime.limits import Limits

_VISIBLE_GPUS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")


@dataclass(frozen=True)
class Told:
    """What a scheduler tells of one node; None where it says nothing. ``memory`` is in bytes."""

    host: str
    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None


def allocation(
    launcher: str,
    job_id: str,
    told: Sequence[Told],
    own: int,
    environment: Mapping[str, str],
    directory: Path,
    ends_at: float | None = None,
) -> Allocation:
    """What a job has whose scheduler counts slots, and says little of memory.

    Of GPUs it may tell each process by its environment which ones it sees.
    """
    if told[own].gpus is None:
        ours = replace(told[own], gpus=visible_gpus(environment))
        told = [*told[:own], ours, *told[own + 1 :]]
    return Allocation(
        launcher=launcher,
        job_id=job_id,
        nodes=nodes(told, own),
        directory=directory,
        ends_at=ends_at,
        unlimited_memory="part",
    )


def nodes(told: Sequence[Told], own: int, *, tells_memory: bool = False) -> tuple[Node, ...]:
    """The nodes in the scheduler's order, but the ``own``-th, on which we run, first.

    There the smaller of what was told and what this process may really use counts. What is not told of another
    node is as on the first one. Where the scheduler never ``tells_memory``, has not done so now, and no control group
    limits it, a job with a part of the processors takes only such a part of the memory: the rest is for others.
    """
    ours = told[own]
    here = limits.here(exclusive=True)
    cpus = min(ours.cpus or here.cpus, here.cpus)
    memory = min(ours.memory or here.memory, here.memory)
    if not tells_memory and not ours.memory and ours.cpus:
        memory = _share(memory, ours.cpus)
    first = Node(ours.host, cpus, memory, ours.gpus or 0)
    others = (
        Node(
            host=node.host,
            cpus=node.cpus or first.cpus,
            memory=node.memory or first.memory,
            gpus=first.gpus if node.gpus is None else node.gpus,
            cpus_told=bool(node.cpus),
            memory_told=bool(node.memory),
        )
        for index, node in enumerate(told)
        if index != own
    )
    return (first, *others)


def names(environment: Mapping[str, str], *variables: str) -> list[str]:
    """What this node may be called in a list: the values of ``variables``, and its host name."""
    return [*(environment[name] for name in variables if environment.get(name)), os.uname().nodename]


def visible_gpus(environment: Mapping[str, str]) -> int | None:
    """How many graphics processors the scheduler lets this job see on its own node; None when it does not say."""
    for variable in _VISIBLE_GPUS:
        value = environment.get(variable)
        if value is not None:
            devices = [word for word in value.split(",") if word.strip()]
            return len(devices) if devices[:1] not in (["-1"], ["NoDevFiles"]) else 0
    return None


def directory(environment: Mapping[str, str], current: Path, submitted_from: str) -> Path:
    """Where the files of a job belong whose scheduler starts it in the home directory.

    There the directory of the submission (the variable ``submitted_from``) is meant, if it is on this node too;
    elsewhere the current one, which somebody chose.
    """
    home, submitted = environment.get("HOME"), environment.get(submitted_from)
    if home and submitted and _is_same(current, Path(home)) and Path(submitted).is_dir():
        return Path(submitted)
    return current


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def script_began() -> float:
    """When the job script began, which leads our session (setsid(2)); seconds since 1970, now if nobody can tell."""
    try:
        return float(psutil.Process(os.getsid(0)).create_time())
    except (psutil.Error, ValueError):
        return time.time()


def machine() -> Limits:
    """All that this node has."""
    return Limits(cpus=os.cpu_count() or 1, memory=psutil.virtual_memory().total)


def _share(memory: int, cpus: int) -> int:
    whole = machine()
    if memory < whole.memory or cpus >= whole.cpus:
        return memory
    return whole.memory * cpus // whole.cpus

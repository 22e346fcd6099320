"""The only place that reads what Slurm says of a job in the job's environment (sbatch(1): its output variables).

A heterogeneous job has several components; of each there is every variable with _HET_GROUP_N at its end.
"""

from collections.abc import Mapping
from dataclasses import replace

from ood_runtime import host_lists, own_node
from ood_runtime.errors import SettingsError
from ood_runtime.own_node import Told
from ood_runtime.settings.sizes import MIB

_HET = "_HET_GROUP_"
# Requests that are spread over the whole job; others are for each node of it.
_GPUS_OF_THE_JOB = ("SLURM_GPUS", "SLURM_GPUS_PER_TASK", "SLURM_GPUS_PER_SOCKET")


def components(environment: Mapping[str, str]) -> list[list[Told]]:
    """The nodes of each component of the job, with what Slurm says of them; an ordinary job has one component.

    Raises SettingsError when variables are missing, cannot be read or contradict each other.
    """
    size = environment.get("SLURM_HET_SIZE", "")
    if not size:
        return [_component(environment, "")]
    found = [_component(environment, f"{_HET}{index}") for index in range(_number(environment, "SLURM_HET_SIZE"))]
    if not found:
        raise _broken(environment, "SLURM_HET_SIZE", "it should be the number of the job's components")
    return found


def all_nodes(environment: Mapping[str, str]) -> tuple[list[Told], int]:
    """The nodes of all components, and the place of that on which we run. Raises SettingsError as ``components``."""
    each: dict[str, Told] = {}
    for node in (node for nodes in components(environment) for node in nodes):
        each.setdefault(node.host, node)
    told, hosts = list(each.values()), list(each)
    names = own_node.names(environment, "SLURMD_NODENAME")
    own = host_lists.place_of(names, hosts)
    if own is None:
        raise SettingsError(
            f"this machine, {names[-1]}, is none of the nodes of Slurm job {job_id(environment)}: {', '.join(hosts)}",
            remedy="start the session in the job's batch script, or with srun inside of the allocation of salloc",
        )
    gpus = _gpus_here(environment)
    if gpus is not None:
        told[own] = replace(told[own], gpus=gpus)
    return told, own


def job_id(environment: Mapping[str, str]) -> str:
    """The number of the job."""
    return environment.get("SLURM_JOB_ID") or environment.get("SLURM_JOBID") or "unknown"


def ends_at(environment: Mapping[str, str]) -> float | None:
    """The end of the job's wall time in seconds since 1970; Slurm tells it from 23.02 on."""
    end = _number(environment, "SLURM_JOB_END_TIME") if environment.get("SLURM_JOB_END_TIME") else 0
    return float(end) if end else None


def gpus_are_the_jobs(environment: Mapping[str, str]) -> bool:
    """Whether graphics processors were asked for the job or its tasks, and not for each node."""
    asked = {name.partition(_HET)[0] for name, value in environment.items() if value}
    return bool(asked & set(_GPUS_OF_THE_JOB)) or "gpu" in environment.get("SLURM_TRES_PER_TASK", "")


def _component(environment: Mapping[str, str], suffix: str) -> list[Told]:
    name = f"SLURM_JOB_NODELIST{suffix}"
    if not environment.get(name) and environment.get(f"SLURM_NODELIST{suffix}"):
        name = f"SLURM_NODELIST{suffix}"
    try:
        hosts = host_lists.expand(environment.get(name, ""))
    except ValueError as error:
        raise _broken(environment, name, f"not a list of nodes: {error}") from error
    number = f"SLURM_JOB_NUM_NODES{suffix}"
    if environment.get(number) and _number(environment, number) != len(hosts):
        raise _broken(environment, number, f"but {name} ({environment[name]}) has {len(hosts)} nodes")
    cpus = _for_each_node(environment, f"SLURM_JOB_CPUS_PER_NODE{suffix}", len(hosts))
    gpus = _gpus(environment, suffix, len(hosts))
    return [
        Told(host, cpus[index], _memory(environment, suffix, cpus[index], gpus[index]), gpus[index])
        for index, host in enumerate(hosts)
    ]


def _memory(environment: Mapping[str, str], suffix: str, cpus: int | None, gpus: int | None) -> int | None:
    """Bytes on a node: in MB for the node, each processor or each GPU; none of them, or 0, is all that it has."""
    ways = (("SLURM_MEM_PER_NODE", 1), ("SLURM_MEM_PER_CPU", cpus), ("SLURM_MEM_PER_GPU", gpus))
    for name, times in ways:
        if environment.get(name + suffix):
            amount = _number(environment, name + suffix) * (times or 0)
            return amount * MIB or None
    return None


def _gpus(environment: Mapping[str, str], suffix: str, nodes: int) -> list[int | None]:
    """Graphics processors of each node, as far as the request tells."""
    per_node = environment.get(f"SLURM_GPUS_PER_NODE{suffix}", "")
    if per_node:
        counts = [part.rpartition(":")[2] for part in per_node.split(",")]
        if not all(count.isdecimal() for count in counts):
            raise _broken(environment, f"SLURM_GPUS_PER_NODE{suffix}", "it should be as 2 or a100:2")
        return [sum(map(int, counts))] * nodes
    per_task = environment.get(f"SLURM_GPUS_PER_TASK{suffix}", "").rpartition(":")[2]
    tasks = _for_each_node(environment, f"SLURM_TASKS_PER_NODE{suffix}", nodes) if per_task.isdecimal() else [None]
    if tasks[0] is not None:
        return [int(per_task) * (count or 0) for count in tasks]
    total, here = environment.get(f"SLURM_GPUS{suffix}", "").rpartition(":")[2], _gpus_here(environment)
    if total.isdecimal() and here is not None and nodes > 1 and not suffix:
        # How the rest is spread is not told: an even part of it is the best guess.
        return [max(0, int(total) - here) // (nodes - 1)] * nodes
    return [None] * nodes


def _gpus_here(environment: Mapping[str, str]) -> int | None:
    if environment.get("SLURM_GPUS_ON_NODE", "").isdecimal():
        return int(environment["SLURM_GPUS_ON_NODE"])
    listed = environment.get("SLURM_JOB_GPUS") or environment.get("SLURM_STEP_GPUS")
    return len(listed.split(",")) if listed else own_node.visible_gpus(environment)


def _for_each_node(environment: Mapping[str, str], name: str, nodes: int) -> list[int | None]:
    if not environment.get(name):
        return [None] * nodes
    try:
        numbers = host_lists.counts(environment[name])
    except ValueError as error:
        raise _broken(environment, name, str(error)) from error
    if len(numbers) != nodes:
        raise _broken(environment, name, f"it is for {len(numbers)} nodes, but the job has {nodes}")
    return [*numbers]


def _number(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdecimal():
        raise _broken(environment, name, "it should be a whole number")
    return int(environment[name])


def _broken(environment: Mapping[str, str], name: str, reason: str) -> SettingsError:
    return SettingsError(
        f"{name} of this Slurm job is {environment[name]!r}: {reason}"
        if name in environment
        else f"{name} of this Slurm job is not set: {reason}",
        remedy="do not change Slurm's variables in the job script; without Slurm, set launcher to local",
    )

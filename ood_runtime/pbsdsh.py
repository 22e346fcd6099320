"""What OpenPBS and Torque share: the file of the job's nodes, and pbsdsh, which runs a task on one of its lines.

Facts are from the source of OpenPBS 23.06 and Torque 6.1 (pbsdsh.c, start_exec.c), and measured on OpenPBS 23.06:
tasks get neither the job script's environment nor its directory, pbsdsh exits with 0 whatever they do, and of a
pbsdsh with several tasks not all get its signals. So there is one pbsdsh for each rank.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import host_lists, own_node
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.errors import SettingsError


def is_torque(environment: Mapping[str, str]) -> bool:
    """Whether a job with PBS variables is one of Torque (the lists of variables in both start_exec.c).

    Only Torque has PBS_VNODENUM, only OpenPBS has PBS_JOBDIR and NCPUS. Sites set other variables of one in
    jobs of the other, so that scripts work with both.
    """
    if environment.get("PBS_VERSION", "").upper().startswith("TORQUE") or environment.get("PBS_VNODENUM"):
        return True
    if environment.get("PBS_JOBDIR") or environment.get("NCPUS"):
        return False
    return any(environment.get(name) for name in ("PBS_NUM_NODES", "PBS_NUM_PPN", "PBS_NP", "PBS_WALLTIME"))


def is_job(environment: Mapping[str, str]) -> bool:
    """Whether this is a job of either; a plug-in of Slurm sets PBS_JOBID too, but neither cookie nor file."""
    return bool(environment.get("PBS_JOBID")) and any(
        environment.get(name) for name in ("PBS_NODEFILE", "PBS_JOBCOOKIE")
    )


def lines(environment: Mapping[str, str]) -> list[str]:
    """The host of each line of PBS_NODEFILE. Raises SettingsError when the file cannot be read or is empty."""
    name = environment.get("PBS_NODEFILE", "")
    if not name:
        raise SettingsError(
            "PBS_NODEFILE of this PBS job is not set: it names the file with the job's nodes",
            remedy="start the session in the job script, not in a task of pbsdsh; do not unset PBS variables",
        )
    try:
        found = Path(name).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"PBS_NODEFILE of this PBS job is {name!r}, which cannot be read: {error}",
            remedy="start the session on the job's first node, with the PBS variables as PBS has set them",
        ) from error
    if not found:
        raise SettingsError(
            f"PBS_NODEFILE of this PBS job is {name!r}, which names no host",
            remedy="ask for processors with the nodes, as in -l select=2:ncpus=4",
        )
    return found


def slots(found: Sequence[str]) -> Counter[str]:
    """How many lines each host has, in the order of the hosts."""
    return Counter(found)


def own_place(environment: Mapping[str, str], hosts: Sequence[str]) -> int:
    """The place among ``hosts`` of that on which we run: by its name, else by PBS_NODENUM, the job's count of hosts.

    Raises SettingsError when neither tells it.
    """
    place = host_lists.place_of(own_node.names(environment), hosts)
    if place is not None:
        return place
    number = environment.get("PBS_NODENUM", "0")
    if number.isdecimal() and int(number) < len(hosts):
        return int(number)
    raise SettingsError(
        f"PBS_NODENUM of this PBS job is {number!r}, but the job has {len(hosts)} nodes",
        remedy="start the session in the job script, with the PBS variables as PBS has set them",
    )


def commands(
    program: str, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
) -> tuple[Launch, ...]:
    """One pbsdsh for each task, by the first line of its node: -n alone is in all versions of both.

    ``--`` because pbsdsh of OpenPBS looks for its own options behind the program too (getopt(3)).
    """
    found = lines(environment)
    run = ("--", "/bin/sh", str(script))
    return tuple(
        Launch(
            argv=(program, "-n", _line(found, allocation.nodes[task.node].host), *run, str(task.rank)),
            ranks=(task.rank,),
        )
        for task in tasks
    )


def _line(found: Sequence[str], host: str) -> str:
    if host not in found:
        raise SettingsError(
            f"PBS_NODEFILE of this PBS job has no line for {host} any more",
            remedy="do not change the file of the job's nodes",
        )
    return str(found.index(host))

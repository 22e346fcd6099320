"""Grid Engine (Sun, Univa, Altair, Son of Grid Engine): qrsh -inherit starts the workers on the other nodes.

Facts are from qsub(1), sge_pe(5) and the source of Son of Grid Engine 8.1 (execd_job_exec.c, qrsh_starter.c). The
parallel environment must have control_slaves TRUE. A host takes as many tasks at once as the job has slots there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from ood_runtime import host_lists, launcher_programs, own_node
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.errors import SettingsError
from ood_runtime.own_node import Told
from ood_runtime.settings import Settings

# More workers than slots: the host takes only one task, which runs them side by side.
_SIDE_BY_SIDE = 'for rank; do /bin/sh "$0" "$rank" & done; wait'


class GridEngine:
    """A job of Grid Engine."""

    name = "gridengine"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """JOB_ID, which others use too, with SGE_TASK_ID ("undefined" outside of array jobs) or a list of hosts."""
        return bool(environment.get("JOB_ID")) and any(
            environment.get(name) for name in ("SGE_TASK_ID", "PE_HOSTFILE", "SGE_JOB_SPOOL_DIR")
        )

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The hosts of PE_HOSTFILE, ours first, or this one for a job without a parallel environment.

        A slot counts as a processor.
        """
        slots = _slots(environment)
        # The job script runs on the host of the first line, the master of the parallel environment.
        own = host_lists.place_of(own_node.names(environment, "HOSTNAME"), list(slots)) or 0
        told = [Told(host, count) for host, count in slots.items()]
        place = own_node.directory(environment, directory, "SGE_O_WORKDIR")
        return own_node.allocation(self.name, environment.get("JOB_ID", "unknown"), told, own, environment, place)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One qrsh for each task, or for each node that has fewer slots than tasks.

        -noshell leaves the arguments as they are; otherwise they are joined for the user's login shell. No -V: it
        would hand the whole environment to the scheduler, which keeps it in files, and fails on exported functions.
        """
        if not tasks:
            return ()
        qrsh = launcher_programs.find(
            "qrsh", environment, _programs(environment), "load the site's Grid Engine environment: settings.sh"
        )
        launches = []
        for place, group in groupby(tasks, key=lambda task: task.node):
            node, ranks = allocation.nodes[place], [task.rank for task in group]
            start = (qrsh, "-inherit", "-nostdin", "-noshell", node.host, "/bin/sh")
            if len(ranks) > node.cpus:
                argv = (*start, "-c", _SIDE_BY_SIDE, str(script), *map(str, ranks))
                launches.append(Launch(argv=argv, ranks=tuple(ranks)))
            else:
                launches += [Launch(argv=(*start, str(script), str(rank)), ranks=(rank,)) for rank in ranks]
        return tuple(launches)


def _slots(environment: Mapping[str, str]) -> Counter[str]:
    """The slots on each host; one with several queues has a line for each of them."""
    name = environment.get("PE_HOSTFILE")
    if not name:
        count = environment.get("NSLOTS", "1")
        return Counter({own_node.names(environment)[-1]: int(count) if count.isdecimal() and int(count) else 1})
    slots: Counter[str] = Counter()
    try:
        for line in filter(str.strip, Path(name).read_text(encoding="utf-8").splitlines()):
            host, count = line.split()[:2]
            slots[host] += int(count)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"PE_HOSTFILE of this Grid Engine job is {name!r}, which cannot be read: {error}",
            remedy="start the session in the job script; each line should be HOST SLOTS QUEUE PROCESSORS",
        ) from error
    if not slots:
        raise SettingsError(
            f"PE_HOSTFILE of this Grid Engine job is {name!r}, which names no host",
            remedy="ask for a parallel environment with slots: qsub -pe NAME SLOTS",
        )
    return slots


def _programs(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where Grid Engine keeps its programs: SGE_BINARY_PATH, or below SGE_ROOT for this architecture."""
    root, architecture = environment.get("SGE_ROOT"), environment.get("SGE_ARCH") or environment.get("ARC")
    beside = [environment["SGE_BINARY_PATH"]] if environment.get("SGE_BINARY_PATH") else []
    return (*beside, f"{root}/bin/{architecture}") if root and architecture else tuple(beside)


LAUNCHER = GridEngine()

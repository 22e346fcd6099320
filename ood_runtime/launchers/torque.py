"""Torque: one pbsdsh for each worker on another node (see ``ood_runtime.pbsdsh``)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import host_lists, launcher_programs, own_node, pbsdsh
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.own_node import Told
from ood_runtime.settings import Settings

_PROGRAMS = ("/usr/local/bin", "/opt/torque/bin", "/usr/bin")


class Torque:
    """A job of Torque."""

    name = "torque"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """PBS_JOBID, and what only Torque sets."""
        return pbsdsh.is_job(environment) and pbsdsh.is_torque(environment)

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The hosts of PBS_NODEFILE, ours first; it has a line for each processor, PBS_GPUFILE one for each GPU."""
        found = pbsdsh.slots(pbsdsh.lines(environment))
        own = pbsdsh.own_place(environment, list(found))
        gpus = _gpus(environment)
        told = [Told(host, count, gpus=_of_host(gpus, host)) for host, count in found.items()]
        job_id = environment.get("PBS_JOBID", "unknown")
        place = own_node.directory(environment, directory, "PBS_O_WORKDIR")
        return own_node.allocation(self.name, job_id, told, own, environment, place, _ends_at(environment))

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One pbsdsh for each task."""
        if not tasks:
            return ()
        remedy = "add the directory of Torque's programs to PATH"
        program = launcher_programs.find("pbsdsh", environment, _PROGRAMS, remedy)
        return pbsdsh.commands(program, allocation, script, tasks, environment)


def _ends_at(environment: Mapping[str, str]) -> float | None:
    """PBS_WALLTIME is the length of the wall time in seconds; it began at the latest when the job script did."""
    seconds = environment.get("PBS_WALLTIME", "")
    return own_node.script_began() + int(seconds) if seconds.isdecimal() and int(seconds) else None


def _gpus(environment: Mapping[str, str]) -> Counter[str]:
    """The GPUs of each host: PBS_GPUFILE has lines such as node1-gpu0."""
    try:
        lines = Path(environment.get("PBS_GPUFILE") or "/dev/null").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        lines = []
    return Counter(line.rpartition("-gpu")[0] for line in lines)


def _of_host(gpus: Counter[str], host: str) -> int | None:
    if not gpus:
        return None
    return sum(count for name, count in gpus.items() if host_lists.is_same(name, host))


LAUNCHER = Torque()

"""OpenPBS and PBS Professional: one pbsdsh for each worker on another node (see ``ood_runtime.pbsdsh``)."""

import re
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import launcher_programs, own_node, pbsdsh
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.own_node import Told
from ood_runtime.settings import Settings

_CONFIGURATION = "/etc/pbs.conf"
_INSTALLED = "/opt/pbs"  # where packages of it have it


class Pbs:
    """A job of OpenPBS or PBS Professional."""

    name = "pbs"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """PBS_JOBID, and nothing that only Torque sets."""
        return pbsdsh.is_job(environment) and not pbsdsh.is_torque(environment)

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The hosts of PBS_NODEFILE, ours first.

        It has a line for each MPI process, and NCPUS is what one chunk here has (or its ompthreads): the larger of
        the two is what the job is sure to have on this host. Other hosts may have other chunks: of them only lines
        are told that say more, and a worker finds NCPUS of its own host in its task, and its memory as we do here.
        """
        found = pbsdsh.slots(pbsdsh.lines(environment))
        ncpus = environment.get("NCPUS", "")
        chunk = int(ncpus) if ncpus.isdecimal() else 0
        told = [Told(host, count if count >= max(chunk, 2) else None) for host, count in found.items()]
        own = pbsdsh.own_place(environment, list(found))
        host, count = list(found.items())[own]
        told[own] = Told(host, max(count, chunk), _memory())
        place = own_node.directory(environment, directory, "PBS_O_WORKDIR")
        return own_node.allocation(self.name, environment.get("PBS_JOBID", "unknown"), told, own, environment, place)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One pbsdsh for each task; it is in PBS_EXEC/bin, which is often not on a job's PATH."""
        if not tasks:
            return ()
        program = launcher_programs.find(
            "pbsdsh", environment, _programs(environment), "add the directory of PBS' programs to PATH"
        )
        return pbsdsh.commands(program, allocation, script, tasks, environment)


def _memory() -> int | None:
    """What the job was given on this host, in bytes; None where it has asked for none.

    pbs_mom sets it as the limit of the resident size, which Linux does not heed (getrlimit(2)), and which is not that
    of one process: it is what all chunks on the host have together (mom_set_limits in mom_mach.c).
    """
    hard = resource.getrlimit(resource.RLIMIT_RSS)[1]
    return hard if hard > 0 else None


def _programs(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where PBS keeps its programs: PBS_EXEC, of the environment or the configuration file (pbs.conf(5))."""
    try:
        text = Path(environment.get("PBS_CONF_FILE") or _CONFIGURATION).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    configured = re.findall(r"^\s*PBS_EXEC\s*=\s*\"?([^\"\s]+)", text, re.MULTILINE)
    return tuple(f"{place}/bin" for place in (environment.get("PBS_EXEC"), *configured, _INSTALLED) if place)


LAUNCHER = Pbs()

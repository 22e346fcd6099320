"""LSF: one blaunch for each worker on another node.

Facts are from IBM's pages of blaunch and of LSF's environment variables (Spectrum LSF 10.1, LSF 9.1). blaunch starts
a task under the RES of its host, in the environment of the job's first task, and stays until the task has ended.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import host_lists, launcher_programs, own_node
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.errors import SettingsError
from ood_runtime.own_node import Told
from ood_runtime.settings import Settings

_REMEDY = "start the session in the job's command, with the LSF variables as LSF has set them"


class Lsf:
    """A job of LSF."""

    name = "lsf"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """LSF gives every job LSB_JOBID."""
        return bool(environment.get("LSB_JOBID"))

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The job's hosts, ours first; a slot is a processor, and LSF starts a job in the directory of bsub."""
        slots = _slots(environment)
        # LSF starts the job's command on the first host of the list.
        own = host_lists.place_of(own_node.names(environment), list(slots)) or 0
        told = [Told(host, count) for host, count in slots.items()]
        job_id = environment.get("LSB_JOBID", "unknown")
        return own_node.allocation(self.name, job_id, told, own, environment, directory)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One blaunch for each task: -n reads nothing, -no-shell leaves the arguments as they are."""
        if not tasks:
            return ()
        beside = [environment[name] for name in ("LSF_BINDIR",) if environment.get(name)]
        program = launcher_programs.find("blaunch", environment, beside, "load the site's LSF environment: profile.lsf")
        start = (program, "-n", "-no-shell")
        run = ("/bin/sh", str(script))
        return tuple(
            Launch(argv=(*start, allocation.nodes[task.node].host, *run, str(task.rank)), ranks=(task.rank,))
            for task in tasks
        )


def _slots(environment: Mapping[str, str]) -> Counter[str]:
    """The slots on each host: LSB_MCPU_HOSTS, LSB_DJOB_HOSTFILE for very large jobs, or LSB_HOSTS."""
    if environment.get("LSB_MCPU_HOSTS"):
        return _pairs(environment["LSB_MCPU_HOSTS"])
    name = environment.get("LSB_DJOB_HOSTFILE")
    if name:
        try:
            words = Path(name).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"LSB_DJOB_HOSTFILE of this LSF job is {name!r}, which cannot be read: {error}", remedy=_REMEDY
            ) from error
    else:
        words = environment.get("LSB_HOSTS", "").split()
    if not words:
        raise SettingsError(
            "none of LSB_MCPU_HOSTS, LSB_DJOB_HOSTFILE and LSB_HOSTS of this LSF job names a host", remedy=_REMEDY
        )
    return Counter(words)


def _pairs(text: str) -> Counter[str]:
    words = text.split()
    hosts, counts = words[::2], words[1::2]
    if len(hosts) != len(counts) or not all(count.isdecimal() and int(count) for count in counts):
        raise SettingsError(
            f"LSB_MCPU_HOSTS of this LSF job is {text!r}: it should be hosts and numbers, as in node1 4 node2 4",
            remedy=_REMEDY,
        )
    slots: Counter[str] = Counter()
    for host, count in zip(hosts, counts, strict=True):
        slots[host] += int(count)
    return slots


LAUNCHER = Lsf()

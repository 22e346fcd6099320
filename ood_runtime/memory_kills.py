"""The only place that knows of processes of this job that the kernel has killed for lack of memory.

It counts them in memory.events of a control group of version 2, and in memory.oom_control of version 1 from Linux
4.13 on ("oom_kill" in both: Documentation/admin-guide/cgroup-v2.rst, mm/memcontrol.c), ahead of the signal.
"""

import socket
import time
from pathlib import Path

import psutil

from ood_runtime import limits

REMEDY = "ask for more memory in the job, or let notebooks, drivers and workers use less"
_LATELY_SECONDS = 10.0  # who was killed may take its time to end


class MemoryKills:
    """What was killed on this node since this was made; ``root`` stands before /proc and /sys (for tests).

    Where nothing limits the job's memory, the group may be that of other jobs too: then nothing is counted.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._files: list[Path] = []
        self._size = limits.here(root).memory
        if self._size < psutil.virtual_memory().total:
            own = {controller: directory for controller, directory in reversed([*limits.groups(root)])}
            names = {"memory": "memory.oom_control", "": "memory.events"}
            self._files = [own[controller] / name for controller, name in names.items() if controller in own]
        self._before = self._count()
        self._until = 0.0

    def lately(self) -> str:
        """What to tell when one was killed since the last look or a little before; "" otherwise."""
        count, now = self._count(), time.monotonic()
        if count > self._before:
            self._before, self._until = count, now + _LATELY_SECONDS
        if now >= self._until:
            return ""
        return (
            f"memory ran out: all {self._size / 2**30:.1f} GiB that the job may use on {socket.gethostname()} were "
            "taken, and the kernel killed a process"
        )

    def _count(self) -> int:
        return sum(map(_killed, self._files))


def _killed(file: Path) -> int:
    try:
        words = [line.split() for line in file.read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return 0
    return sum(int(number) for name, number in (pair for pair in words if len(pair) == 2) if name == "oom_kill")

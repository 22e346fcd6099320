"""What this process may really use of its node: processors and memory.

The smallest of what the machine has, the CPU affinity and every control group from this process's own up to
the top (cgroups(7); version 1 and 2, by the paths in /proc/self/cgroup and /proc/self/mountinfo).
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

# cgroup v1 writes "no limit" as the largest multiple of a page in 63 bits.
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class Limits:
    """``cpus`` are processors (at least 1), ``memory`` is in bytes."""

    cpus: int
    memory: int


def here(root: Path = Path("/"), *, exclusive: bool = True) -> Limits:
    """The limits of this process. ``root`` stands before /proc and /sys (for tests).

    Where the node is not the job's alone (``exclusive`` is false) and no control group limits the memory, only
    what is free now counts.
    """
    cpus = float(len(os.sched_getaffinity(0)))
    memory = psutil.virtual_memory()
    limits = [memory.total] if exclusive else [memory.available]
    for controller, directory in groups(root):
        if controller in ("", "cpu"):
            cpus = min(cpus, _quota(directory))
        if controller in ("", "memory"):
            limits += [n for name in ("memory.max", "memory.limit_in_bytes") if (n := _number(directory / name))]
    return Limits(cpus=max(1, math.floor(cpus)), memory=min(limits))


def umask() -> int:
    """The file mode creation mask of this process (proc(5), "Umask"), 0o077 where the kernel does not say."""
    lines = (line.split() for line in _lines(Path("/proc/self/status")))
    return next((int(words[1], 8) for words in lines if words[:1] == ["Umask:"]), 0o077)


def groups(root: Path) -> Iterator[tuple[str, Path]]:
    """Controller ("" for version 2) and directory of each control group that this process is in."""
    mounts = _mounts(root)
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            shown = [(top, base) for top, base in mounts.get(controller, ()) if _is_below(path, base)]
            if not shown:
                continue
            top, base = shown[0]
            directory = top / path.removeprefix(base).strip("/")
            while True:
                yield controller, directory
                if directory == top or top not in directory.parents:
                    break
                directory = directory.parent


def _is_below(path: str, base: str) -> bool:
    return base in ("/", path) or path.startswith(f"{base}/")


def _mounts(root: Path) -> dict[str, list[tuple[Path, str]]]:
    """Where each controller is mounted, and which group is at the top of that mount (proc(5), mountinfo)."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        left, _, right = line.partition(" - ")
        base, point = left.split()[3:5]
        kind, _, options = right.split(maxsplit=2)
        controllers = {"cgroup2": [""], "cgroup": options.split(",")}.get(kind, [])
        for controller in controllers:
            found.setdefault(controller, []).append((root / point.lstrip("/"), base))
    return found


def _quota(directory: Path) -> float:
    """Processors that the CPU quota of a group allows."""
    words = " ".join(_lines(directory / "cpu.max")).split()
    if not words:
        quota, period = _number(directory / "cpu.cfs_quota_us"), _number(directory / "cpu.cfs_period_us")
        return quota / period if quota and period else math.inf
    return math.inf if words[0] == "max" else int(words[0]) / int(words[1])


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    number = int(text) if text.isdigit() else 0
    return number if 0 < number < _UNLIMITED else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []

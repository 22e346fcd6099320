"""What ood-runtime costs when it has nothing to do: ``--help``, and the two processes that keep an idle session."""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import psutil

from benchmarks.programs import Started

MEGABYTE = 1_000_000
# What pip 23 writes for an entry point; later releases import less.
_SCRIPT = """#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from ood_runtime.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""


def help_seconds(scratch: Path, environment: dict[str, str], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of ``python -c pass`` and of ``ood-runtime --help``, in turns."""
    installed = Path(sys.executable).parent / "ood-runtime"
    script = installed if installed.exists() else scratch / "ood-runtime"
    if script != installed:
        script.write_text(_SCRIPT.format(python=sys.executable))
        script.chmod(0o700)
    nothing, ours = [], []
    for _ in range(runs):
        nothing.append(_seconds([sys.executable, "-c", "pass"], environment))
        ours.append(_seconds([str(script), "--help"], environment))
    return nothing[1:], ours[1:]  # the first ones read from the disk


def idle(session: Started, session_directory: Path, seconds: float) -> dict[str, float]:
    """Memory (bytes) and share of one core of guard and supervisor, while nothing happens in ``session``."""
    supervisor = int(json.loads((session_directory / "status.json").read_text())["pid"])
    processes = {"guard": psutil.Process(session.process.pid), "supervisor": psutil.Process(supervisor)}
    begin, before = time.monotonic(), sum(_cpu(process) for process in processes.values())
    time.sleep(seconds)
    used = sum(_cpu(process) for process in processes.values()) - before
    result = {"share": used / (time.monotonic() - begin)}
    for name, process in processes.items():
        memory = process.memory_full_info()
        result |= {f"{name}_rss": memory.rss, f"{name}_pss": memory.pss}
    result["pss"] = result["guard_pss"] + result["supervisor_pss"]
    return result


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The quotient of the medians."""
    return median(ours) / median(theirs)


def _seconds(argv: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system

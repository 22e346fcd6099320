"""What benchmarks/scale.py runs inside a Slurm job: srun of nothing, and our launch of stub workers, in turns."""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from ood_runtime import launchers
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.settings import Settings


def tasks(allocation: Allocation, count: int) -> list[Task]:
    """``count`` workers on as many of the other nodes as there are, equally many on each."""
    nodes = min(count, len(allocation.nodes) - 1)
    per_node = count // nodes
    return [Task(rank, 1 + rank // per_node) for rank in range(per_node * nodes)]


def seconds(launch: Launch) -> float:
    """One call of the launcher, from its start to the end of all its tasks."""
    removed = {name: value for name, value in os.environ.items() if name not in launch.environment}
    begin = time.monotonic()
    subprocess.run(launch.argv, env=removed, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def measure(count: int, rounds: int, stub: Path) -> dict[str, float]:
    """Medians over ``rounds``."""
    found: dict[str, list[float]] = {"true": [], "ours": [], "plan": []}
    nodes = 0
    for _ in range(rounds + 1):
        begin = time.monotonic()
        launcher = launchers.choose(None, os.environ)
        allocation = launcher.allocation(os.environ, Path.cwd(), Settings())
        wanted = tasks(allocation, count)
        (launch,) = launcher.commands(allocation, stub, wanted, os.environ)
        found["plan"].append(time.monotonic() - begin)
        nodes = len({task.node for task in wanted})
        # The same geometry, and nothing of ours.
        own = [word for word in launch.argv if word.startswith(("--nodes", "--nodelist", "--ntasks", "--overcommit"))]
        found["true"].append(seconds(replace(launch, argv=(launch.argv[0], "--overlap", "--mem=0", *own, "true"))))
        found["ours"].append(seconds(launch))
    medians = {name: median(values[1:]) for name, values in found.items()}
    return {**medians, "nodes": nodes}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line of JSON: medians in seconds by the number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stub", type=Path, required=True, help="where to write the stub of a worker's script")
    options = parser.parse_args(arguments)
    options.stub.write_text("#!/bin/sh\nexit 0\n")
    print(json.dumps({count: measure(count, options.rounds, options.stub) for count in options.workers}))


if __name__ == "__main__":
    main()

"""Measure what many workers cost: launching them, telling of them, looking after them.

    sudo OOD_TEST_USER=USER .venv/bin/python -m benchmarks.scale

Run as root, who makes a Slurm of namespaces on this machine (tests/slurm); USER runs the job. docs/performance.md says
what is measured, and has results.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import scale_supervisor
from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.jobs import submit

_REPOSITORY = Path(__file__).parents[1]
_WITHIN = 900.0  # seconds, for the whole job


def launching(cluster: Cluster, counts: Sequence[int], rounds: int) -> dict[int, dict[str, float]]:
    """Medians, in seconds, by the number of workers: what benchmarks/scale_job.py measures inside a job."""
    nodes = len(cluster.nodes)
    argv = f"{sys.executable} -m benchmarks.scale_job --rounds {rounds} --workers {' '.join(map(str, counts))}"
    script = f"stub=$PWD/stub.sh; cd {_REPOSITORY} && export PYTHONDONTWRITEBYTECODE=1 && exec {argv} --stub $stub"
    job = submit(cluster, script, f"--nodes={nodes}", "--exclusive")
    state = job.wait(_WITHIN)
    if state != "COMPLETED":
        sys.exit(f"the job ended with {state}:\n{job.output()}")
    answers = json.loads(job.output().splitlines()[-1])
    return {int(count): values for count, values in answers.items()}


def status_seconds(count: int, rounds: int) -> float:
    """``ood-runtime status`` of a session with ``count`` workers."""
    with tempfile.TemporaryDirectory() as directory:
        state = scale_supervisor.status_of(count)
        (Path(directory) / "status.json").write_text(json.dumps(state))
        argv = [sys.executable, "-m", "ood_runtime", "status", "--session-dir", directory]
        return median(_seconds(argv) for _ in range(rounds))


def _seconds(argv: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure, and print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    counts = sorted(options.workers)
    cpus = max(4, -(-counts[-1] // options.nodes))
    sizes = (NodeSize(cpus=cpus, memory=1000 * cpus),) * (options.nodes + 1)
    with slurm(ClusterSpec(nodes=sizes)) as cluster:
        measured = launching(cluster, counts, options.rounds)
    print("| Workers | Nodes | `srun true` (s) | our launch (s) | ratio | plan (s) |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for count, values in measured.items():
        ratio = values["ours"] / values["true"]
        print(
            f"| {count} | {values['nodes']:.0f} | {values['true']:.2f} | {values['ours']:.2f} | {ratio:.2f}"
            f" | {values['plan']:.3f} |"
        )
    print("\n| Workers | `ood-runtime status` (s) | supervisor (MB, RSS) | share of a core |")
    print("| ---: | ---: | ---: | ---: |")
    for count in counts:
        memory, share = scale_supervisor.standing(count)
        print(
            f"| {count} | {status_seconds(count, options.rounds):.2f} | {memory / 1e6:.1f} | {share:.2%} |", flush=True
        )


if __name__ == "__main__":
    main()

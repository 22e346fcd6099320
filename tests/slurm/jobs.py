"""The only place where tests submit jobs to the Slurm of tests/slurm/cluster.py and look at them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.slurm.cluster import Cluster
from tests.support.accounts import Account, user_of_tests

Value = TypeVar("Value")
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
)
END_WITHIN = 60.0  # seconds


@dataclass(frozen=True)
class Job:
    """A batch job of ``user``; ``directory`` is where it runs and where its output is."""

    cluster: Cluster
    id: str
    directory: Path
    user: Account

    def facts(self) -> dict[str, str]:
        """What `scontrol show job` says, by name; of a heterogeneous job, what it says of the first part."""
        return dict(word.split("=", 1) for word in self.shown().partition("\n\n")[0].split() if "=" in word)

    def state(self) -> str:
        """PENDING, RUNNING, COMPLETING, COMPLETED, CANCELLED, ..."""
        return self.facts()["JobState"]

    def output(self) -> str:
        """Both streams of the script, so far."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def shown(self) -> str:
        """All that Slurm tells everybody about the job, in words: where a secret must never be."""
        return self.cluster.run("scontrol", "--details", "--details", "show", "job", self.id)

    def script(self) -> str:
        """The script as Slurm keeps it."""
        return self.cluster.run("scontrol", "write", "batch_script", self.id, "-", user=self.user)

    def steps(self) -> list[str]:
        """The names of the steps that run now: batch, extern, or what srun was given."""
        return self.cluster.run("squeue", "--steps", "--noheader", f"--job={self.id}", "--format=%j").split()

    def nodes(self) -> tuple[str, ...]:
        """The nodes that the job was given, as Slurm writes them out."""
        return tuple(self.cluster.run("scontrol", "show", "hostnames", self.facts()["NodeList"]).split())

    def cancel(self, *options: str) -> None:
        """scancel, as the owner of the job."""
        self.cluster.run("scancel", *options, self.id, user=self.user)

    def wait_for(self, look: Callable[[], Value | None], what: str, within: float = END_WITHIN) -> Value:
        """The first answer of ``look`` that is not None; fails when the job ends before, and after so many seconds."""
        deadline = time.monotonic() + within
        while True:
            state = self.state()  # asked before the look, so that what a job did last is seen too
            if (value := look()) is not None:
                return value
            assert state not in ENDED, f"the job ended with {state} before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.shown()}\n{self.output()}"
            time.sleep(0.1)

    def wait_for_line(self, line: str, within: float = END_WITHIN) -> None:
        """Wait until the job has printed this line."""
        self.wait_for(lambda: line if line in self.output().splitlines() else None, f"the line {line!r}", within)

    def wait(self, within: float = END_WITHIN) -> str:
        """The job's last state; it has to end within so many seconds, on all nodes."""
        deadline = time.monotonic() + within
        while (state := self.state()) not in ENDED:
            assert time.monotonic() < deadline, f"{state} after {within:.0f} s:\n{self.shown()}\n{self.output()}"
            time.sleep(0.1)
        return state

    def end_at_walltime(self) -> None:
        """Let the job's time end now, or rather with slurmctld's next look, every 30 s."""
        self.cluster.administer("scontrol", "update", f"JobId={self.id}", "EndTime=now+1")


def submit(
    cluster: Cluster,
    script: str,
    *options: str,
    directory: Path | None = None,
    export: str = "NONE",
    user: Account | None = None,
) -> Job:
    """Submit a script as Open OnDemand does: on standard input, from elsewhere, with nothing of the environment.

    ``directory`` is where it runs, by default a new one; ``export`` is what is handed on of the environment;
    ``user`` is by default that of the tests.
    """
    owner = user or user_of_tests()
    place = directory or cluster.directory / f"job-{time.monotonic_ns()}"
    cluster.run("mkdir", "-p", str(place), user=owner)
    command = ["sbatch", "--parsable", f"--export={export}", f"--chdir={place}", f"--output={place}/output.log"]
    job = cluster.machines.check([*command, *options], user=owner, stdin=f"#!/bin/bash\n{script}")
    return Job(cluster, job.strip(), place, owner)


def submit_parts(cluster: Cluster, script: str, parts: Sequence[Sequence[str]], *options: str) -> Job:
    """Submit a heterogeneous job, with the options of each of its parts; the script runs in the first one."""
    words = list(parts[0])
    for part in parts[1:]:
        words += [":", *part]
    return submit(cluster, script, *options, *words)

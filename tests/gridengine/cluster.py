"""The only place for a real Grid Engine, from Debian's packages, on the machines of tests/slurm/machines.py.

sge_qmaster runs on the head, an sge_execd on each node. Jobs ask for slots of the parallel environment ``spread``,
which takes them from the nodes in turn, and lets jobs start tasks on their nodes with `qrsh -inherit`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.slurm.machines import machines
from tests.slurm.scheduler import Scheduler
from tests.support.accounts import user_of_tests
from tests.support.needs import missing, need

Value = TypeVar("Value")
UP_WITHIN = 60.0  # seconds
END_WITHIN = 60.0
_ROOT = Path("/var/lib/gridengine")  # where Debian has it
_VARIABLES: Mapping[str, str] = {"SGE_ROOT": str(_ROOT), "SGE_CELL": "default"}


@dataclass(frozen=True)
class Cluster(Scheduler):
    """A Grid Engine that is up."""

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a command printed that the user of the tests runs on the head, where it must succeed."""
        done = self.machines.run(argv, user=user_of_tests(), env=_VARIABLES, stdin=stdin)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """The jobs that have not ended, and their states: qw, r, dr, Eqw, ..."""
        lines = [line.split() for line in self.run("qstat", "-u", "*").splitlines()[2:]]
        return {words[0]: words[4] for words in lines}

    def end_all_jobs(self, within: float = END_WITHIN) -> None:
        """Delete every job, wait until there is none, and kill what is left; seconds."""
        if jobs := self.jobs():
            self.run("qdel", *jobs)
        self.machines.until(lambda: not self.jobs(), "end of all jobs", within)
        self.kill_left()


@dataclass(frozen=True)
class Job:
    """A batch job of the user of the tests; ``directory`` is where it runs and where its output is."""

    cluster: Cluster
    id: str
    directory: Path

    def output(self) -> str:
        """Both streams of the script, so far."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def shown(self) -> str:
        """All that Grid Engine tells everybody about a job that has not ended: where a secret must never be."""
        return self.cluster.run("qstat", "-j", self.id)

    def cancel(self) -> None:
        """qdel."""
        self.cluster.run("qdel", self.id)

    def wait_for(self, look: Callable[[], Value | None], what: str, within: float = END_WITHIN) -> Value:
        """The first answer of ``look`` that is not None; fails when the job ends before, and after so many seconds."""
        deadline = time.monotonic() + within
        while True:
            state = self.cluster.jobs().get(self.id)  # asked before the look, so that what a job did last is seen too
            if (value := look()) is not None:
                return value
            assert state and "E" not in state, f"the job ended with {state} before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.shown()}\n{self.output()}"
            time.sleep(0.1)

    def wait(self, within: float = END_WITHIN) -> None:
        """The job has to end within so many seconds, on all nodes."""
        self.cluster.machines.until(lambda: self.id not in self.cluster.jobs(), f"end of job {self.id}", within)


@contextmanager
def gridengine() -> Iterator[Cluster]:
    """Two nodes with 4 slots each, up and empty; gone afterwards, with everything that runs on it."""
    for program in ("sge_qmaster", "sge_execd", "qconf", "qsub"):
        need(program)
    if not (_ROOT / "default" / "common").is_dir():
        missing(f"needs Grid Engine in {_ROOT}, as Debian's packages install it")
    here = Path(__file__).parent
    with machines(("node01", "node02"), here / "daemons.sh", etc=lambda _: {}) as network:
        cluster = Cluster(network)
        network.until(lambda: _heard_of(cluster) == set(network.nodes), "cluster that hears of its nodes", UP_WITHIN)
        yield cluster


def submit(cluster: Cluster, script: str, *options: str, slots: int = 4) -> Job:
    """Submit a script as Open OnDemand does: on standard input, with nothing of the environment.

    It runs on the first node, and has half of the slots there.
    """
    place = cluster.directory / f"job-{time.monotonic_ns()}"
    cluster.run("mkdir", "-p", str(place))
    command = ["qsub", "-terse", "-wd", str(place), "-j", "y", "-o", str(place / "output.log"), "-S", "/bin/bash"]
    job = cluster.run(*command, "-pe", "spread", str(slots), "-masterq", "all.q@node01", *options, stdin=script)
    return Job(cluster, job.strip(), place)


def _heard_of(cluster: Cluster) -> set[str]:
    """The nodes whose daemon has reported its load, without which no job is sent there."""
    lines = [line.split() for line in cluster.run("qhost").splitlines()[3:]]
    return {words[0] for words in lines if words[6] != "-"}

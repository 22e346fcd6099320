"""The only place for a real OpenPBS on the machines of tests/slurm/machines.py.

pbs_server, pbs_sched and pbs_comm run on the head, a pbs_mom on each of two nodes, which claim 4 processors each. No
distribution that the tests know has packages of it: it is there where somebody has built and installed it.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.slurm.machines import Machines, machines
from tests.support.accounts import user_of_tests
from tests.support.needs import need_openpbs

Value = TypeVar("Value")
UP_WITHIN = 60.0  # seconds
END_WITHIN = 60.0
SCATTERED = ("-l", "select=2:ncpus=4:mem=16gb", "-l", "place=scatter")


@dataclass(frozen=True)
class Cluster:
    """An OpenPBS that is up; its programs are in ``programs``."""

    machines: Machines
    programs: Path

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes."""
        return self.machines.nodes

    def run(self, program: str, *arguments: str, stdin: str = "") -> str:
        """What a program of OpenPBS printed that the user of the tests runs on the head, where it must succeed."""
        argv = [str(self.programs / program), *arguments]
        return self.machines.check(argv, user=user_of_tests(), stdin=stdin)

    def administer(self, command: str) -> None:
        """A command of qmgr, as root."""
        self.machines.check([str(self.programs / "qmgr"), "-c", command])

    def left(self) -> dict[str, dict[int, str]]:
        """What still runs as the user of the tests on each machine: command lines by pid."""
        return self.machines.processes(user_of_tests())

    def end_all_jobs(self) -> None:
        """Delete every job at once, wait until there is none, and kill what is left."""
        if jobs := [line.split()[0] for line in self.run("qstat").splitlines()[2:]]:
            self.machines.run([str(self.programs / "qdel"), "-W", "force", *jobs])
        self.machines.until(lambda: not self.run("qstat"), "end of all jobs", END_WITHIN)
        for pid in [pid for found in self.left().values() for pid in found]:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()


@dataclass(frozen=True)
class Job:
    """A batch job of the user of the tests; ``directory`` is where it was submitted and where its output is."""

    cluster: Cluster
    id: str
    directory: Path

    def facts(self) -> dict[str, Any]:
        """What `qstat -xf` says."""
        told = json.loads(self.cluster.run("qstat", "-x", "-f", "-F", "json", self.id))
        facts: dict[str, Any] = told["Jobs"][self.id]
        return facts

    def shown(self) -> str:
        """All that OpenPBS tells everybody about the job, in words: where a secret must never be."""
        return self.cluster.run("qstat", "-x", "-f", self.id)

    def output(self) -> str:
        """Both streams of the script, and those of tasks without an output of their own, so far."""
        path = self.directory / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def delete(self, *options: str) -> None:
        """qdel; comes back at once."""
        self.cluster.run("qdel", *options, self.id)

    def wait_for(self, look: Callable[[], Value | None], what: str, within: float = END_WITHIN) -> Value:
        """The first answer of ``look`` that is not None; fails when the job ends before, and after so many seconds."""
        deadline = time.monotonic() + within
        while True:
            state = self.facts()["job_state"]  # asked before the look, so that what a job did last is seen too
            if (value := look()) is not None:
                return value
            assert state != "F", f"the job ended before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.shown()}\n{self.output()}"
            time.sleep(0.1)

    def wait(self, within: float = END_WITHIN) -> int:
        """The Exit_status of the job, which has to end within so many seconds."""
        self.cluster.machines.until(lambda: self.facts()["job_state"] == "F", f"end of job {self.id}", within)
        return int(self.facts()["Exit_status"])


@contextmanager
def openpbs() -> Iterator[Cluster]:
    """Two nodes, up and free; gone afterwards, with everything that runs on them."""
    programs = need_openpbs() / "bin"
    with machines(("node01", "node02"), Path(__file__).with_name("daemons.sh"), etc=lambda _: {}) as network:
        cluster = Cluster(network, programs)
        network.until(lambda: _free(cluster) == set(network.nodes), "cluster whose nodes are free", UP_WITHIN)
        yield cluster


def submit(cluster: Cluster, script: str, *options: str) -> Job:
    """Submit a script as Open OnDemand does: on standard input, with nothing of the environment."""
    place = cluster.machines.directory / f"job-{time.monotonic_ns()}"
    cluster.machines.check(["mkdir", "-p", str(place)], user=user_of_tests())
    # Without -k the output would come with the end of the job only.
    output = ("-j", "oe", "-o", str(place / "output.log"), "-k", "doe")
    # Without -f a qsub stays behind for a minute, which submits what comes next.
    job = cluster.run("qsub", "-f", *SCATTERED, *output, *options, stdin=script)
    return Job(cluster, job.strip(), place)


def _free(cluster: Cluster) -> set[str]:
    done = cluster.machines.run([str(cluster.programs / "pbsnodes"), "-a", "-F", "json"])
    with suppress(json.JSONDecodeError):
        return {name for name, node in json.loads(done.stdout)["nodes"].items() if node["state"] == "free"}
    return set()

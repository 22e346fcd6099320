"""The only place for Spark sessions in batch jobs of several nodes: started small, looked at on every node."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import requests

from ood_runtime import processes, ui_filter
from ood_runtime.secret import Secret
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job
from tests.slurm.sessions import REPOSITORY, JobSession, start
from tests.support.accounts import user_of_tests
from tests.support.jupyter import Connection, log_in

Run = Callable[[str], str]
MEMORY = 3500  # MB that a job asks for on each node
# A small driver, no builder of archives that would take the processor from the tests, and all workers there.
SMALL = (
    "spark.driver.memory=512m",
    "spark.class_data=use",
    "spark.wait_for_workers=all",
)
# Processes, by what only their command lines have in them.
MASTER, WORKER, WORKER_SCRIPT = "/spark/master.args", "/spark/remote-worker.args", "/spark/remote-worker.sh "
SRUN, SESSION, EXECUTOR = "/srun --overlap", "-m ood_runtime start ", "CoarseGrainedExecutorBackend"
# A cell that comes back when so many executors are there: they come one by one, and the first one would do all.
AWAIT_EXECUTORS = """import time
deadline = time.time() + 90
while sc._jsc.sc().getExecutorMemoryStatus().size() <= {number}:
    assert time.time() < deadline, sc._jsc.sc().getExecutorMemoryStatus().toString()
    time.sleep(0.1)"""
NODES = """import os
def where(_):
    time.sleep(0.2)
    return os.uname().nodename
print(*sorted(set(sc.parallelize(range({tasks}), {tasks}).map(where).collect())))"""


@dataclass(frozen=True)
class SparkJob:
    """A session of jupyter-spark and its job."""

    session: JobSession

    @property
    def job(self) -> Job:
        return self.session.job

    @property
    def cluster(self) -> Cluster:
        return self.session.job.cluster

    def connection(self) -> Connection:
        """What connection.yml says, as soon as it is there."""
        return self.session.connection()

    def service(self, name: str) -> dict[str, Any]:
        """What status.json says of a service or check."""
        return next(dict(entry) for entry in self.session.status()["services"] if entry["name"] == name)

    def alive(self) -> dict[str, dict[str, Any]]:
        """The workers that the master has now, each under the name of its node, or NODE/2 for a second one there."""
        names = {machine.address: machine.name for machine in self.cluster.machines.by_name.values()}
        found: dict[str, dict[str, Any]] = {}
        for worker in self._master()["workers"]:
            if worker["state"] == "ALIVE":
                name = names[worker["host"]]
                found[f"{name}/2" if name in found else name] = worker
        return found

    def wait_for_workers(self, *nodes: str, within: float = 30.0) -> None:
        """Wait until the master has workers on exactly these nodes; seconds."""
        self.job.wait_for(lambda: self._are_alive(nodes) or None, f"workers on {', '.join(nodes)}", within)

    def pids(self, node: str, word: str) -> list[int]:
        """The processes of the user on a node whose command line has ``word`` in it, the oldest first."""
        found = [pid for pid, line in self.cluster.left().get(node, {}).items() if word in line]
        # Numbers are given anew from 1 when they have all been used.
        return sorted(found, key=lambda pid: (processes.started_at(pid) or 0, pid))

    def kill(self, node: str, word: str) -> None:
        """SIGKILL to the oldest process that ``pids`` finds, which has to be there."""
        os.kill(self.pids(node, word)[0], signal.SIGKILL)

    def keeper(self) -> tuple[int, int]:
        """The guard, and the supervisor, which is its child."""
        found = self.pids(str(self.job.facts()["BatchHost"]), SESSION)
        return found[0], next(pid for pid in found if _parent(pid) == found[0])

    def assert_gone(self, *, spared: tuple[str, ...] = (), killed: bool = False) -> None:
        """Nothing is left on any node: no process, no file in a directory of its own; and no secret, no connection.

        On ``spared`` nodes there was nobody left to remove files; ``killed`` is as in JobSession.
        """
        self.session.assert_gone(killed=killed)
        remains = self.session.remains()
        for path in (self.cluster.machines.path(node, Path(entry)) for node in remains for entry in remains[node]):
            shutil.rmtree(path)  # so that it cannot disturb the next test
        left = {node: entries for node, entries in remains.items() if node not in spared}
        assert not left, f"left on the nodes' disks: {left}\n{self.logs()}"

    def logs(self) -> str:
        """The last lines of every log of the session."""
        files = sorted((self.session.directory / "logs").iterdir())
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-1000:]}" for path in files)

    @contextmanager
    def notebook(self, executors: int) -> Iterator[Run]:
        """What runs cells of a notebook whose Spark has so many executors."""
        with self.cluster.network():
            client = log_in(self.connection())
            kernel = client.start_kernel()
            client.run(kernel, AWAIT_EXECUTORS.format(number=executors))

        def run(code: str) -> str:
            with self.cluster.network():
                return client.run(kernel, code).strip()

        yield run
        client.close()

    def _are_alive(self, nodes: tuple[str, ...]) -> bool:
        try:
            return sorted(self.alive()) == sorted(nodes)
        except requests.RequestException:
            return False  # the master starts again

    def _master(self) -> dict[str, Any]:
        private = self.session.directory / "ood-runtime" / "spark"
        port = re.search(r'"--webui-port"\n"(\d+)"', (private / "master.args").read_text())
        secret = re.search(r"\S*secretKey[ =]+(\S+)", (private / "spark.conf").read_text())
        assert port and secret
        headers = {"Authorization": ui_filter.authorization((4, 3), Secret(secret[1])).reveal()}
        with self.cluster.network():
            answer = requests.get(f"http://{self.job.facts()['BatchHost']}:{port[1]}/json/", headers=headers, timeout=5)
        answer.raise_for_status()
        state: dict[str, Any] = answer.json()  # a master that starts has a page in its place for a moment
        return state


def spark(
    cluster: Cluster, *settings: str, nodes: int = 2, options: tuple[str, ...] = (), script: str = "exec {start}"
) -> SparkJob:
    """Submit a job of so many nodes whose ``script`` runs a session with these settings, KEY=VALUE."""
    _keep_archives()
    words = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
    geometry = (f"--nodes={nodes}", "--ntasks-per-node=1", "--no-requeue", f"--mem={MEMORY}")
    return SparkJob(start(cluster, "jupyter-spark", *words, options=(*geometry, *options), script=script))


@cache
def _keep_archives() -> None:
    """Build class-data archives for all sessions to come, unless an earlier run has; takes a minute then."""
    user = user_of_tests()
    own = {
        "XDG_CACHE_HOME": str(user.home / ".cache" / "ood-runtime-tests"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run = partial(
        subprocess.run,
        cwd="/",
        env=user.environment(own),
        check=False,
        capture_output=True,
        text=True,
        **user.identity(),
    )
    archives = [sys.executable, "-m", "ood_runtime", "archives"]
    if run([*archives, "list"]).returncode:
        done = run([*archives, "build"])
        assert done.returncode == 0, f"no class-data archives can be built: {done.stdout}{done.stderr}"


def soon(look: Callable[[], object], what: str, within: float = 15.0) -> None:
    """Wait until ``look`` says yes; fails after so many seconds."""
    deadline = time.monotonic() + within
    while not look():
        assert time.monotonic() < deadline, f"no {what} after {within:.0f} s"
        time.sleep(0.1)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

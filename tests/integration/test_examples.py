"""The job scripts of examples/jobs: each is run as it is, and a whole session on two machines comes of it.

OpenPBS, Torque, LSF and Grid Engine are stand-ins, on machines with names, addresses, processes and temporary
directories of their own; ssh is real. Slurm's example is run in tests/slurm, by a real Slurm.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.machines import Machines, machines
from tests.standins.batch import REPOSITORY, BatchJob, batch_job
from tests.support.accounts import user_of_tests
from tests.support.jupyter import Connection, log_in
from tests.support.needs import need
from tests.support.running import READY_WITHIN, files_below, secrets_of_spark

pytestmark = [pytest.mark.root, pytest.mark.integration]

EXAMPLES = REPOSITORY / "examples" / "jobs"
SCRIPTS = {"openpbs": "pbs.sh", "torque": "torque.sh", "lsf": "lsf.sh", "gridengine": "gridengine.sh"}
BACK_WITHIN = 15.0  # seconds until a worker is there again: a JVM's start on a busy machine
GONE_WITHIN = 3.0  # seconds from the end of the job script
SMALL = {
    "driver": {"memory": "512m"},
    "worker": {"memory": "1g"},
    "executor": {"memory": "512m"},
    "class_data": "use",
    "wait_for_workers": "all",
}
# What a user's own module or profile has set before, and the scheduler hands on to the script but not to other nodes.
OWN = {"LANG": "C.UTF-8", "OF_THE_JOB": "it's\nmine"}
NODES = """
import os, time
def look(_):
    time.sleep(0.2)
    mask = os.umask(0); os.umask(mask)
    return (os.uname().nodename, oct(mask), *map(os.environ.get, ("OF_THE_JOB", "LANG", "HOME", "PATH")))
deadline = time.time() + 90
while sc._jsc.sc().getExecutorMemoryStatus().size() < 3:
    assert time.time() < deadline, "no executor on each node"
    time.sleep(0.1)
import json
print(json.dumps(sorted(set(sc.parallelize(range(16), 16).map(look).collect()))))
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Machines]:
    """Two machines, node1 and node2, with nothing on them."""
    with machines(("node1", "node2"), Path("/dev/null"), etc=lambda state: {}) as made:
        yield made


@contextmanager
def example(network: Machines, scheduler: str, settings: dict[str, object] | None = None) -> Iterator[BatchJob]:
    """The scheduler's example in a job of it, with settings of spark."""
    for host in network.nodes:  # what a session that was killed has left
        network.check(["sh", "-c", "rm -rf /tmp/* /var/tmp/*"], on=host)
    script = EXAMPLES / SCRIPTS[scheduler]
    with batch_job(network, scheduler, script, site(network, settings or {})) as job:
        yield job


def site(network: Machines, settings: dict[str, object]) -> dict[str, str]:
    """The environment of a user of a site where ``ood-runtime`` is on PATH."""
    place = network.directory / "site"
    place.mkdir(exist_ok=True)
    (place / "ood-runtime").write_text(f'#!/bin/sh\nexec {sys.executable} -m ood_runtime "$@"\n')
    (place / "ood-runtime").chmod(0o755)
    (place / "config.yml").write_text(yaml.safe_dump({"spark": {**SMALL, **settings}}))
    return {
        **OWN,
        "PATH": f"{place}:/usr/bin:/bin",
        "OOD_RUNTIME_SITE_CONFIG": str(place / "config.yml"),
        "XDG_CACHE_HOME": str(user_of_tests().home / ".cache" / "ood-runtime-tests"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@dataclass(frozen=True)
class Seen:
    """A session that is ready, below a home directory: what connection.yml says, and what must stay secret."""

    machines: Machines
    home: Path
    connection: Connection
    secrets: frozenset[str]

    @property
    def status(self) -> dict[str, Any]:
        (path,) = self.home.glob("jupyter-spark-*/status.json")
        status: dict[str, Any] = json.loads(path.read_text())
        return status

    def use(self) -> list[list[str]]:
        """Run a cell on workers of both machines: what each distinct task has said of its surroundings."""
        with Cluster(self.machines).network():
            client = log_in(self.connection)
            told: list[list[str]] = json.loads(client.run(client.start_kernel("pyspark"), NODES))
            client.close()
        return told

    def assert_gone(self, *, killed: bool = False) -> None:
        """No process is left on any machine, nor a connection file, a secret, or a temporary directory.

        ``killed`` says that the session could not clear up after itself.
        """
        deadline = time.monotonic() + GONE_WITHIN
        while (left := self.machines.processes(user_of_tests())) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        if killed:
            return
        assert not list(self.home.glob("*/connection.yml"))
        texts = {path: path.read_text(errors="replace") for path in files_below(self.home)}
        assert not [path for path, text in texts.items() for secret in self.secrets if secret in text]
        for host in self.machines.nodes:
            for place in ("/tmp", "/var/tmp"):
                assert not list(self.machines.path(host, Path(place)).iterdir())


def connection_file(home: Path) -> str | None:
    """The text of connection.yml of the session that the example has named, as soon as it is there."""
    with suppress(FileNotFoundError, StopIteration):
        return next(home.glob("jupyter-spark-*/connection.yml")).read_text()
    return None


def ready(job: BatchJob) -> Seen:
    """The job's session, as soon as it is ready."""
    return seen(job.machines, job.home, job.wait_for(lambda: connection_file(job.home), "session", READY_WITHIN))


def seen(network: Machines, home: Path, text: str) -> Seen:
    values: Connection = yaml.safe_load(text)
    secrets = frozenset((str(values["password"]), str(values["xsrf"]), *secrets_of_spark(next(home.glob("jup*")))))
    assert len(secrets) > 2
    return Seen(network, home, values, secrets)


def assert_whole(session: Seen) -> None:
    """Workers on both machines, each of which has the driver's environment."""
    assert session.connection["host"] == "node1"
    assert str(session.connection["spark_master"]).startswith("spark://10.77.0.11:")
    workers = session.status["workers"]
    assert (workers["ready"], workers["wanted"]) == (2, 2)
    assert {worker["host"] for worker in workers["each"]} == {"node1", "node2"}
    logs = [path.read_text() for path in session.home.glob("*/logs/spark-worker-*.log")]
    assert len(logs) == 2
    assert not [log for log in logs if "Retrying connection" in log], "a worker came before its master could take it"
    told = session.use()
    assert [words[0] for words in told] == ["node1", "node2"]
    here, there = (words[1:] for words in told)
    assert here == there == [oct(0o022), OWN["OF_THE_JOB"], OWN["LANG"], str(session.home), here[-1]]


@pytest.mark.parametrize("scheduler", SCRIPTS)
def test_a_session_on_two_machines_that_is_deleted(scheduler: str, network: Machines) -> None:
    with example(network, scheduler) as job:
        session = ready(job)
        assert_whole(session)
        job.end("delete")
        job.wait()
        assert not job.killed, "it ended before the scheduler had to kill anything"
        session.assert_gone()


@pytest.mark.parametrize(
    ("scheduler", "how"), [("openpbs", "walltime"), ("lsf", "warning"), ("gridengine", "walltime")]
)
def test_the_end_of_the_jobs_time(scheduler: str, how: str, network: Machines) -> None:
    with example(network, scheduler) as job:
        session = ready(job)
        job.end(how)
        job.wait()
        assert not job.killed
        session.assert_gone()
        assert session.status["state"] == "ended"


@pytest.mark.parametrize("scheduler", ["openpbs", "gridengine"])
def test_a_launcher_that_is_killed_is_started_again(scheduler: str, network: Machines) -> None:
    """The task of a killed pbsdsh goes on, and is taken over; that of a killed qrsh ends with it."""
    with example(network, scheduler) as job:
        session = ready(job)
        (launcher,) = (pid for pid, line in network.processes(user_of_tests())["node1"].items() if _launches(line))
        os.kill(launcher, signal.SIGKILL)
        (log,) = session.home.glob("*/logs/spark-worker-1.log")
        job.wait_for(lambda: log.read_text().count(": starting with ") == 2 or None, "another worker", BACK_WITHIN)
        job.wait_for(lambda: session.status["workers"]["ready"] == 2 or None, "word of it", BACK_WITHIN)
        (service,) = (entry for entry in session.status["services"] if entry["name"] == "spark-workers")
        assert (service["restarts"], service["state"]) == (1, "running")
        job.end("delete")
        job.wait()
        session.assert_gone()


def _launches(command: str) -> bool:
    return "remote-worker.sh" in command and re.search(r"\b(pbsdsh|qrsh) ", command) is not None


@pytest.mark.parametrize("scheduler", SCRIPTS)
def test_everything_is_killed_at_once(scheduler: str, network: Machines) -> None:
    """As by `qdel -W force`: what has left its session is out of the scheduler's sight."""
    with example(network, scheduler) as job:
        session = ready(job)
        job.kill()
        job.wait()
        session.assert_gone(killed=True)


def test_all_workers_on_the_other_machine(network: Machines) -> None:
    """PBS does not tell how much memory the other hosts have: what is planned on the first one must fit there."""
    settings: dict[str, object] = {"driver_only": True, "workers_per_node": 2, "worker": {}, "executor": {}}
    with example(network, "openpbs", settings) as job:
        workers = ready(job).status["workers"]
        assert [(worker["rank"], worker["host"]) for worker in workers["each"]] == [(0, "node2"), (1, "node2")]


# --- machines without a scheduler, with a real ssh ---

SSHD = """\
HostKey {state}/host_key
AuthorizedKeysFile {state}/user_key.pub
StrictModes no
PasswordAuthentication no
UsePAM yes
PidFile none
"""
SSH = """\
IdentityFile {state}/user_key
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
"""


def ssh_files(state: Path) -> dict[str, str]:
    """What is in /etc of both machines; makes the keys."""
    user = user_of_tests()
    for name in ("host_key", "user_key"):
        subprocess.run([need("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", state / name], check=True)
    os.chown(state / "user_key", user.uid, user.gid)
    return {"ssh/sshd_config": SSHD.format(state=state), "ssh/ssh_config": SSH.format(state=state)}


@pytest.fixture
def ssh_network() -> Iterator[Machines]:
    """Two machines that let each other's users in."""
    need("sshd")
    need("ssh")
    daemons = REPOSITORY / "tests" / "standins" / "sshd.sh"
    with machines(("node1", "node2"), daemons, etc=ssh_files) as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_machines_without_a_scheduler(ssh_network: Machines, number: signal.Signals) -> None:
    user, home = user_of_tests(), ssh_network.directory / "home"
    home.mkdir()
    os.chown(home, user.uid, user.gid)
    command = ssh_network.command(["/bin/bash", str(EXAMPLES / "ssh.sh"), "node2"], on="node1", user=user)
    environment = {**user.environment(site(ssh_network, {})), "HOME": str(home)}
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(command, env=environment, cwd="/", stdout=output, stderr=output, umask=0o022)
    ssh_network.until(lambda: connection_file(home) or process.poll() is not None, "session", READY_WITHIN)
    text = connection_file(home)
    assert text, (home / "output").read_text()
    session = seen(ssh_network, home, text)
    if number == signal.SIGINT:
        assert_whole(session)
    for pid, line in ssh_network.processes(user)["node1"].items():
        if " -m ood_runtime start " in line:
            os.kill(pid, number)
    process.wait(30)
    session.assert_gone(killed=number == signal.SIGKILL)

"""The job scripts of examples/jobs: each is run as it is, and a whole session on two machines comes of it.

OpenPBS, Torque, LSF and Grid Engine are stand-ins, on machines with names, addresses, processes and temporary
directories of their own; ssh is real. Slurm's example is run in tests/slurm, by a real Slurm.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ood_runtime.settings.sizes import GIB
from tests.slurm.machines import Machines, machines
from tests.standins.batch import BatchJob, batch_job
from tests.support.accounts import user_of_tests
from tests.support.example_session import EXAMPLES, REPOSITORY, Seen, assert_whole, connection_text, seen, site
from tests.support.needs import need
from tests.support.running import READY_WITHIN

pytestmark = [pytest.mark.root, pytest.mark.integration]

SCRIPTS = {"openpbs": "pbs.sh", "torque": "torque.sh", "lsf": "lsf.sh", "gridengine": "gridengine.sh"}
BACK_WITHIN = 15.0  # seconds until a worker is there again: a JVM's start on a busy machine


@pytest.fixture(scope="module")
def network() -> Iterator[Machines]:
    """Two machines, node1 and node2, with nothing on them."""
    with machines(("node1", "node2"), Path("/dev/null"), etc=lambda state: {}) as made:
        yield made


@contextmanager
def example(
    network: Machines,
    scheduler: str,
    settings: dict[str, object] | None = None,
    chunks: dict[str, tuple[int, int]] | None = None,
) -> Iterator[BatchJob]:
    """The scheduler's example in a job of it, with settings of spark; of PBS with these chunks, of one process each."""
    for host in network.nodes:  # what a session that was killed has left
        network.check(["sh", "-c", "rm -rf /tmp/* /var/tmp/*"], on=host)
    script = EXAMPLES / SCRIPTS[scheduler]
    environment, slots = site(network, settings or {}), 1 if chunks else 2
    with batch_job(network, scheduler, script, environment, slots, chunks) as job:
        yield job


def started(home: Path) -> tuple[Path, str] | None:
    """The directory that the example has named, and the text of connection.yml, as soon as it is there."""
    for directory in home.glob("jupyter-spark-*"):
        if text := connection_text(directory):
            return directory, text
    return None


def ready(job: BatchJob) -> Seen:
    """The job's session, as soon as it is ready."""
    directory, text = job.wait_for(lambda: started(job.home), "session", READY_WITHIN)
    return seen(job.machines, directory, text, job.home)


@pytest.mark.parametrize("scheduler", SCRIPTS)
def test_a_session_on_two_machines_that_is_deleted(scheduler: str, network: Machines) -> None:
    with example(network, scheduler) as job:
        session = ready(job)
        assert_whole(session, job.home, job.umask)
        job.end("delete")
        job.wait()
        assert not job.killed, "it ended before the scheduler had to kill anything"
        session.assert_gone()


@pytest.mark.parametrize(("scheduler", "how"), [("lsf", "warning"), ("gridengine", "walltime")])
def test_the_end_of_the_jobs_time(scheduler: str, how: str, network: Machines) -> None:
    with example(network, scheduler) as job:
        session = ready(job)
        job.end(how)
        job.wait()
        assert not job.killed
        session.assert_gone()
        assert session.status["state"] == "ended"


def test_the_end_of_the_walltime_of_unequal_chunks(network: Machines) -> None:
    """A worker has what the job was given where it runs: 70 % of 2048 - 512 MiB."""
    settings: dict[str, object] = {"worker": {}, "executor": {"cores": 1, "memory": "512m"}}
    with example(network, "openpbs", settings, {"node1": (2, 4 * GIB), "node2": (1, 2 * GIB)}) as job:
        session = ready(job)
        log = (session.directory / "logs" / "spark-worker-1.log").read_text()
        assert "starting with 1 cores and 1075 MiB" in log
        job.end("walltime")
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
    ssh_network.until(lambda: started(home) or process.poll() is not None, "session", READY_WITHIN)
    found = started(home)
    assert found, (home / "output").read_text()
    session = seen(ssh_network, *found, home)
    if number == signal.SIGINT:
        assert_whole(session, home)
    for pid, line in ssh_network.processes(user)["node1"].items():
        if " -m ood_runtime start " in line:
            os.kill(pid, number)
    process.wait(30)
    session.assert_gone(killed=number == signal.SIGKILL)

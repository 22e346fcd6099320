"""A batch job of a stand-in on machines of their own (tests/slurm/machines.py): its script, its tasks, its end.

The script runs on the first host, under a shell as PBS has one around it, in the home directory. On each host a mom
runs what the launchers ask for. When the script ends, everything of the job is killed on all hosts at once, and nothing
is asked first. An end from outside is as measured or documented: the first host alone hears of it, and after a while
everything is killed; see ``ENDS``.

Lacks a queue and limits; the signals of LSF and Grid Engine are from their manuals.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import TypeVar

from tests.slurm.machines import Machines
from tests.standins import jobs, mom
from tests.support.accounts import Account, user_of_tests

Value = TypeVar("Value")
REPOSITORY = Path(__file__).parents[2]
END_WITHIN = 60.0  # seconds
PROGRAMS = {
    "openpbs": {"pbsdsh": "pbsdsh_openpbs"},
    "torque": {"pbsdsh": "pbsdsh_torque"},
    "lsf": {"blaunch": "blaunch"},
    "gridengine": {"qrsh": "qrsh"},
}
# OpenPBS and Grid Engine make a directory on each host, under the same name, which ends with the job.
_TEMPORARY = {"openpbs": "/var/tmp/pbs.12.server", "gridengine": "/tmp/12.1.all.q"}
# The shell around the script hears of signals too, and goes on as long as the script does.
_AROUND = 'trap : TERM INT HUP USR1 USR2; "$0"'


@dataclass(frozen=True)
class End:
    """What the first host's processes of a job get, by seconds; then everything everywhere is killed."""

    signals: tuple[tuple[float, Signals], ...]
    killed_after: float


ENDS = {
    ("openpbs", "delete"): End(((0, signal.SIGTERM),), 10),  # or up to 22, as pbs_mom happens to look
    ("openpbs", "walltime"): End(((0, signal.SIGTERM),), 10),
    ("torque", "delete"): End(((0, signal.SIGTERM),), 10),
    ("lsf", "delete"): End(((0, signal.SIGINT), (10, signal.SIGTERM)), 20),
    ("lsf", "warning"): End(((0, signal.SIGTERM),), 60),
    ("gridengine", "delete"): End(((0, signal.SIGUSR2),), 60),
    ("gridengine", "walltime"): End(((0, signal.SIGUSR1),), 60),
}


@dataclass
class BatchJob:
    """A job that was started; ``environment`` is that of its script."""

    machines: Machines
    scheduler: str
    place: Path
    hosts: tuple[str, ...]
    environment: Mapping[str, str]
    user: Account
    status: int | None = None
    killed: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def home(self) -> Path:
        """Where the script starts."""
        return self.place / "home"

    @property
    def umask(self) -> int:
        """That of the script."""
        return 0o077 if self.scheduler == "openpbs" else 0o022

    def output(self) -> str:
        """What the script, and tasks without an output of their own, have printed."""
        path = self.place / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, look: Callable[[], Value | None], what: str, within: float = END_WITHIN) -> Value:
        """The first answer of ``look`` that is not None, while the script runs; seconds."""
        deadline = time.monotonic() + within
        while True:
            ended = self._ended.is_set()
            if (value := look()) is not None:
                return value
            assert not ended, f"the script ended with {self.status} before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.output()}"
            time.sleep(0.1)

    def end(self, how: str) -> None:
        """Have the scheduler end the job, as in ``ENDS``; comes back at once."""
        threading.Thread(target=self._end, args=[ENDS[self.scheduler, how]], daemon=True).start()

    def wait(self, within: float = END_WITHIN) -> int:
        """The exit status of the script; everything of the job has been killed then."""
        assert self._ended.wait(within), f"the script has not ended after {within:.0f} s:\n{self.output()}"
        assert self.status is not None
        return self.status

    def left(self) -> dict[str, dict[int, str]]:
        """What still runs as the user of the job on each machine: command lines by pid."""
        return self.machines.processes(self.user)

    def kill(self) -> None:
        """Kill everything of the job on all hosts."""
        for host in self.hosts:
            mom.send_signal_to_all(self._mom(host), signal.SIGKILL)

    def run(self, script: Path) -> None:
        """Start the script, and wait for its end in a thread."""
        connection = mom.connect_to(self._mom(self.hosts[0]))
        argv = ["/bin/bash", "-c", _AROUND, str(script)]
        places = {"cwd": str(self.home), "output": str(self.place / "output"), "umask": self.umask}
        resident = jobs.chunk(self.environment, self.hosts[0])[1]
        mom.spawn(
            connection,
            argv=argv,
            env=self.environment,
            host="",
            slots=0,
            on_close=mom.KEEP,
            resident=resident,
            **places,
        )

        def follow() -> None:
            self.status = -signal.SIGKILL
            with connection, suppress(EOFError, ConnectionError):  # the mom ends with all that it has
                self.status = mom.wait(connection)
            self.kill()
            self._ended.set()

        threading.Thread(target=follow, daemon=True).start()

    def _end(self, end: End) -> None:
        began = time.monotonic()
        for seconds, number in end.signals:
            if not self._ended.wait(max(0.0, began + seconds - time.monotonic())):
                mom.send_signal_to_all(self._mom(self.hosts[0]), number)
        if not self._ended.wait(began + end.killed_after - time.monotonic()):
            self.killed = True
            self.kill()

    def _mom(self, host: str) -> Path:
        return Path(f"{self.environment[mom.SOCKET]}-{host}")


@contextmanager
def batch_job(
    machines: Machines,
    scheduler: str,
    script: Path,
    environment: Mapping[str, str],
    slots: int = 2,
    chunks: Mapping[str, tuple[int, int]] | None = None,
) -> Iterator[BatchJob]:
    """A job of the user of the tests on all nodes, with so many slots on each; killed afterwards.

    ``environment`` is what the submission hands on; ``chunks`` are processors and bytes of memory that a job of
    OpenPBS has asked for on each host.
    """
    user, hosts = user_of_tests(), machines.nodes
    place = machines.directory / f"job-{time.monotonic_ns()}"
    own = jobs.prepare(place, scheduler, [host for host in hosts for _ in range(slots)], PROGRAMS[scheduler])
    if scheduler in _TEMPORARY:
        own |= {"TMPDIR": _TEMPORARY[scheduler], jobs.TEMPORARY: _TEMPORARY[scheduler]}
    if chunks:
        own |= {jobs.CHUNKS: json.dumps(chunks), "NCPUS": str(chunks[hosts[0]][0])}
    given = {**own, **environment, "PATH": f"{own['PATH']}:{environment.get('PATH', '')}"}
    for path in (place, *place.rglob("*")):
        os.chown(path, user.uid, user.gid)
    job = BatchJob(machines, scheduler, place, hosts, given, user)
    moms = [_mom(job, host) for host in hosts]
    try:
        job.run(script)
        yield job
    finally:
        job.kill()
        for process in moms:
            process.communicate(timeout=30)


def _mom(job: BatchJob, host: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.standins.mom", f"{job.environment[mom.SOCKET]}-{host}"]
    process = subprocess.Popen(
        job.machines.command(command, on=host, user=job.user),
        cwd="/",
        env=job.user.environment({"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process

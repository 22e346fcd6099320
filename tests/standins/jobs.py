"""A job of a stand-in: its nodes, its variables, the programs on its PATH, and its end.

All its nodes are this machine; ``batch`` has jobs on machines of their own. Lacks a queue, limits and walltime: whoever
starts the script sends it the signals that a scheduler would send.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.standins import mom

JOB, TEMPORARY, CHUNKS = "STANDIN_JOB", "STANDIN_TMPDIR", "STANDIN_CHUNKS"
_REPOSITORY = Path(__file__).parents[2]
# No shell: that would drop variables that are no names for it.
_PROGRAM = """\
#!{python}
import sys
sys.path.insert(0, {repository!r})
from tests.standins.{module} import main
sys.exit(main(sys.argv[1:]))
"""


def directory() -> Path:
    """The place of this job; for the stand-ins, which run inside of it."""
    return Path(os.environ[JOB])


def node_file() -> Path:
    """The file with a line for each slot of the job."""
    return directory() / "nodes"


def node_lines() -> list[str]:
    """The host of each slot: a scheduler knows it from its daemons, whatever the job's variables say."""
    return node_file().read_text().split()


def home() -> Path:
    """The user's home directory, as a task finds it."""
    return directory() / "home"


def temporary() -> str:
    """What TMPDIR is in a task, on whatever host."""
    return os.environ.get(TEMPORARY) or str(directory() / "tmp")


def chunk(environment: Mapping[str, str], host: str) -> tuple[int, int]:
    """Processors, and bytes of memory (0: none were asked for), that a job of PBS has on a host."""
    chunks: dict[str, tuple[int, int]] = json.loads(environment.get(CHUNKS, "{}"))
    ncpus, memory = chunks.get(host, (int(environment.get("NCPUS", "1")), 0))
    return ncpus, memory


def output() -> Path:
    """Where a batch job's standard output goes, and that of tasks which have none of their own."""
    return directory() / "output"


@dataclass(frozen=True)
class Job:
    """A job that runs: ``environment`` is that of its script."""

    directory: Path
    environment: Mapping[str, str]
    mom: "subprocess.Popen[str]"

    def end(self) -> None:
        """The job script has ended: what is left of its tasks is killed."""
        self.mom.terminate()
        self.mom.wait(30)

    def printed(self) -> str:
        """The job's output."""
        path = self.directory / "output"
        return path.read_text() if path.exists() else ""


@contextmanager
def job(place: Path, scheduler: str, hosts: Sequence[str], programs: Mapping[str, str]) -> Iterator[Job]:
    """A job on ``hosts``, one entry for each slot, the first of which runs the script.

    ``programs`` says which module of this package plays a program.
    """
    environment = prepare(place, scheduler, hosts, programs)
    for host in set(hosts):
        Path(f"{environment[mom.SOCKET]}-{host}").symlink_to("mom")
    command = [sys.executable, "-m", "tests.standins.mom", environment[mom.SOCKET]]
    with subprocess.Popen(command, cwd=_REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        running = Job(place, environment, server)
        try:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            yield running
        finally:
            running.end()


def prepare(place: Path, scheduler: str, hosts: Sequence[str], programs: Mapping[str, str]) -> dict[str, str]:
    """Make what a job has in ``place``; the environment of its script."""
    for name in ("home", "tmp", "bin"):
        (place / name).mkdir(parents=True)
    (place / "nodes").write_text("".join(f"{host}\n" for host in hosts))
    for name, module in programs.items():
        path = place / "bin" / name
        path.write_text(_PROGRAM.format(python=sys.executable, repository=str(_REPOSITORY), module=module))
        path.chmod(0o755)
    own = {
        JOB: str(place),
        mom.SOCKET: str(place / "mom"),
        "HOME": str(place / "home"),
        "PATH": f"{place / 'bin'}:/usr/bin:/bin",
        "SHELL": "/bin/sh",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return {**own, **_VARIABLES[scheduler](place, hosts)}


def _slots(hosts: Sequence[str]) -> dict[str, int]:
    return {host: hosts.count(host) for host in hosts}


def _pbs(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    return {
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": "12.server",
        "PBS_JOBCOOKIE": "0000000000000001",
        "PBS_NODENUM": "0",
        "PBS_TASKNUM": "1",
        "PBS_MOMPORT": "15003",
        "PBS_NODEFILE": str(place / "nodes"),
        "PBS_O_WORKDIR": str(place),
    }


def _openpbs(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    return {**_pbs(place, hosts), "PBS_JOBDIR": str(place / "home"), "NCPUS": "2", "OMP_NUM_THREADS": "2"}


def _torque(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    counts = {"PBS_NUM_NODES": str(len(set(hosts))), "PBS_NUM_PPN": str(hosts.count(hosts[0])), "PBS_NP": "0"}
    return {**_pbs(place, hosts), **counts, "PBS_VNODENUM": "0", "PBS_VERSION": "TORQUE-6.1.3"}


def _lsf(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    pairs = " ".join(f"{host} {count}" for host, count in _slots(hosts).items())
    return {"LSB_JOBID": "12", "LSB_MCPU_HOSTS": pairs, "LSB_HOSTS": " ".join(hosts)}


def _gridengine(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    file = place / "pe_hostfile"
    file.write_text("".join(f"{host} {count} all.q@{host} UNDEFINED\n" for host, count in _slots(hosts).items()))
    return {
        "JOB_ID": "12",
        "SGE_TASK_ID": "undefined",
        "SGE_ROOT": "/opt/sge",
        "PE_HOSTFILE": str(file),
        "NSLOTS": str(len(hosts)),
        "SGE_O_WORKDIR": str(place),
    }


def _ssh(place: Path, hosts: Sequence[str]) -> dict[str, str]:
    return {}


_VARIABLES = {
    "openpbs": _openpbs,
    "torque": _torque,
    "lsf": _lsf,
    "gridengine": _gridengine,
    "ssh": _ssh,
}

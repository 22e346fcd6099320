"""The only place for sessions that run in batch jobs: `ood-runtime start` in a job script, looked at from outside."""

import json
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job, submit
from tests.support.accounts import user_of_tests
from tests.support.jupyter import Connection
from tests.support.running import READY_WITHIN, files_below, processes_of, secrets_of_spark

REPOSITORY = Path(__file__).parents[2]
GONE_WITHIN = 15.0  # seconds from the end of the job; a kill waits for Slurm's KillWait of 10


@dataclass
class JobSession:
    """One session and its job."""

    job: Job
    directory: Path
    _id: str = ""
    _secrets: set[str] = field(default_factory=set)
    _outside: tuple[Path, ...] = ()

    def connection(self, within: float = READY_WITHIN) -> Connection:
        """What connection.yml says, as soon as it is there; fails when the job ends before."""
        values: Connection = yaml.safe_load(self.job.wait_for(self._connection_text, "connection.yml", within))
        record = json.loads((self.directory / "ood-runtime" / "session.json").read_text())
        self._id, self._outside = record["id"], tuple(map(Path, record.get("outside", [])))
        self._secrets.update(str(values[key]) for key in ("password", "xsrf", "csrf_token") if key in values)
        self._secrets.update(secrets_of_spark(self.directory))
        return values

    def secrets(self) -> frozenset[str]:
        """What must stay secret, as far as it was found when the connection was read."""
        return frozenset(self._secrets)

    def status(self) -> dict[str, Any]:
        """What status.json says now."""
        status: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
        return status

    def processes(self) -> dict[str, dict[int, str]]:
        """The session's processes on each node: command lines by pid, as seen from outside."""
        ours = processes_of(self._id) if self._id else {}
        found = self.job.cluster.left(self.job.user)
        return {node: here for node, all_ in found.items() if (here := {pid: all_[pid] for pid in all_ if pid in ours})}

    def remains(self) -> dict[str, list[str]]:
        """What belongs to the user in the private directories of each node that is on."""
        machines, uid = self.job.cluster.machines, self.job.user.uid
        found = {}
        for node in machines.nodes:
            if machines.by_name[node].holder:
                places = [machines.path(node, Path(place)) for place in ("/tmp", "/var/tmp", "/dev/shm")]
                entries = [entry for place in places for entry in place.iterdir() if entry.lstat().st_uid == uid]
                found[node] = [str(entry).partition("/root")[2] for entry in entries]
        return {node: entries for node, entries in found.items() if entries}

    def assert_told_nobody(self) -> None:
        """No secret in what Slurm shows or keeps of the job: its record, script and environment, and the output."""
        job, state = self.job, self.job.cluster.machines.state / "ctld"
        kept = [path.read_bytes().decode(errors="replace") for path in files_below(state)]
        assert self._secrets and any("SLURM_" in text for text in kept)
        assert not [secret for secret in self._secrets for text in (job.shown(), job.output(), *kept) if secret in text]

    def assert_gone(self, *, killed: bool = False, within: float = GONE_WITHIN) -> None:
        """No process is left on any node, after so many seconds at most; no connection file, secret, or directory.

        ``killed`` says that the session could not clear up: its files may be there.
        """
        deadline = time.monotonic() + within
        while (left := self.job.cluster.left(self.job.user)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"left running: {left}\n{self.job.output()}"
        if killed:
            return
        assert not (self.directory / "connection.yml").exists(), "connection.yml is still there"
        machines, node = self.job.cluster.machines, self.job.facts()["BatchHost"]
        scratch = [path for path in self._outside if machines.path(node, path).exists()]
        assert not scratch, f"left outside of the session directory: {scratch}"
        for path in files_below(self.directory):
            content = path.read_text(errors="replace")
            assert not any(secret in content for secret in self._secrets), f"{path} still holds a secret"

    def _connection_text(self) -> str | None:
        try:
            return (self.directory / "connection.yml").read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None


def start(
    cluster: Cluster, app: str, *arguments: str, options: tuple[str, ...] = (), script: str = "exec {start}"
) -> JobSession:
    """Submit a job with ``options`` whose ``script`` runs `ood-runtime start APP ...` where it says ``{start}``.

    The job gets nothing of our environment. Its home is its own directory; what is slow to build is kept.
    """
    user = user_of_tests()
    directory = cluster.directory / f"{app}-{time.monotonic_ns()}"
    environment = {
        "HOME": str(directory),
        "XDG_CACHE_HOME": str(user.home / ".cache" / "ood-runtime-tests"),
        "PYTHONPATH": str(REPOSITORY),
    }
    words = ["env", *(f"{name}={value}" for name, value in environment.items())]
    words += [sys.executable, "-m", "ood_runtime", "start", app, "--session-dir", f"{directory}/session", *arguments]
    job = submit(cluster, script.format(start=shlex.join(words)), *options, directory=directory)
    return JobSession(job, directory / "session")

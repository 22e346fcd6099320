"""The only place that looks at the sessions of examples/jobs, on machines of tests/slurm/machines.py."""

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.slurm.cluster import Cluster
from tests.slurm.machines import Machines
from tests.support.accounts import user_of_tests
from tests.support.jupyter import Connection, log_in
from tests.support.running import files_below, secrets_of_spark

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples" / "jobs"
# Seconds from the end of the job script: a driver that was being kept warm ends when its Java has booted, and sees that
# nobody holds its standard input any more.
GONE_WITHIN = 15.0
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
    """A session that is ready: what connection.yml says, and what must stay secret anywhere below ``home``."""

    machines: Machines
    directory: Path
    home: Path
    connection: Connection
    secrets: frozenset[str]

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
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
        assert not (self.directory / "connection.yml").exists()
        texts = {path: path.read_text(errors="replace") for path in files_below(self.home)}
        assert not [path for path, text in texts.items() for secret in self.secrets if secret in text]
        for host in self.machines.nodes:
            for place in ("/tmp", "/var/tmp"):
                assert not list(self.machines.path(host, Path(place)).iterdir())


def connection_text(directory: Path) -> str | None:
    """The text of connection.yml of a session, as soon as it is there."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return (directory / "connection.yml").read_text()
    return None


def seen(network: Machines, directory: Path, text: str, home: Path | None = None) -> Seen:
    """The session in ``directory``, whose connection.yml has this text; secrets must not be left below ``home``."""
    values: Connection = yaml.safe_load(text)
    secrets = frozenset((str(values["password"]), str(values["xsrf"]), *secrets_of_spark(directory)))
    assert len(secrets) > 2
    return Seen(network, directory, home or directory, values, secrets)


def assert_whole(session: Seen, home: Path, umask: int = 0o022) -> None:
    """Workers on both machines, each of which has the driver's environment, home directory and umask."""
    first, second = session.machines.nodes
    assert session.connection["host"] == first
    assert str(session.connection["spark_master"]).startswith(f"spark://{session.machines.by_name[first].address}:")
    workers = session.status["workers"]
    assert (workers["ready"], workers["wanted"]) == (2, 2)
    assert {worker["host"] for worker in workers["each"]} == {first, second}
    logs = [path.read_text() for path in session.directory.glob("logs/spark-worker-*.log")]
    assert len(logs) == 2
    assert not [log for log in logs if "Retrying connection" in log], "a worker came before its master could take it"
    told = session.use()
    assert [words[0] for words in told] == [first, second]
    here, there = (words[1:] for words in told)
    assert here == there == [oct(umask), OWN["OF_THE_JOB"], OWN["LANG"], str(home), here[-1]]

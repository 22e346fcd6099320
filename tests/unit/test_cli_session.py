"""`status`, `logs` and `stop`: what is said about a session, and about one that was killed."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import click
import pytest

from ood_runtime import session
from ood_runtime.cli.cluster_table import duration
from ood_runtime.cli.status import table
from ood_runtime.plan import File
from ood_runtime.private_files import write
from ood_runtime.status import READY, Status
from tests.unit.calls import RunCli, Spawn, WaitUntil

STATE: dict[str, Any] = {
    "app": "jupyter-spark",
    "host": "node1",
    "state": "starting",
    "message": "starting jupyter-spark on node1",
    "started_at": 1000.0,
    "ended_at": None,
    "ends_at": 8200.0,
    "services": [
        {
            "name": "jupyter",
            "state": "ready",
            "detail": "",
            "pid": 77,
            "since": 1003.0,
            "restarts": 0,
            "background": False,
        },
        {
            "name": "spark-worker",
            "state": "starting",
            "detail": "0 of 1 workers",
            "pid": 78,
            "since": 1004.0,
            "restarts": 2,
            "background": False,
        },
    ],
    "workers": {"ready": 0, "wanted": 1},
    "notices": ["java 25 is new"],
    "error": None,
}


def test_the_table_of_a_session() -> None:
    text = click.unstyle(table(STATE, 1065.0))
    assert text.splitlines()[0].split() == [
        "jupyter-spark",
        "on",
        "node1",
        "starting",
        "for",
        "1",
        "min",
        "5",
        "s,",
        "1",
        "h",
        "58",
        "min",
        "left",
    ]
    assert "0 of 1 Spark workers" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["jupyter"] == ["jupyter", "ready", "77", "1", "min", "2", "s"]
    assert rows["spark-worker"][-5:] == ["2", "0", "of", "1", "workers"]
    assert "note: java 25 is new" in text


def test_the_table_of_a_failure() -> None:
    error = {"what": "jupyter died\n    | why", "log": "/x/jupyter.log", "remedy": "look"}
    text = click.unstyle(table({**STATE, "state": "failed", "ended_at": 1010.0, "error": error}, 2000.0))
    assert text.splitlines()[-4:] == ["jupyter died", "    | why", "log: /x/jupyter.log", "what to do: look"]
    assert "for 10 s" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_times_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.fixture
def killed(tmp_path: Path, spawn: Spawn, wait_until: WaitUntil) -> Path:
    """The directory of a session that was killed when it was ready, with everything that could tell so."""
    root = tmp_path / "killed"

    def work() -> int:
        used = session.Session(root, "jupyter", tmp_path).__enter__()
        used.write([File("secret", "hunter2", secret=True)])
        (root / "logs" / "jupyter.log").write_text("".join(f"line {i}\n" for i in range(30)))
        (root / "logs" / "spark-master.log").write_text("no end of line")
        Status(root, used.id, "jupyter", "node1").phase(READY, "ready")
        write(root / "connection.yml", "password: hunter2")
        signal.pause()
        return 0

    pid = spawn(work, tmp_path / "output")
    wait_until((root / "connection.yml").exists)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return root


def test_the_status_of_a_killed_session(run_cli: RunCli, killed: Path) -> None:
    done = run_cli("status", "--session-dir", str(killed), "--json")
    state = json.loads(done.stdout)
    assert (done.returncode, state["state"]) == (0, "failed")
    assert "killed" in state["error"]["what"]
    assert "ood-runtime stop" in state["error"]["remedy"]
    assert "failed" in run_cli("status", cwd=killed).stdout
    assert "failed" in run_cli("status", env={"OOD_RUNTIME_SESSION_DIR": str(killed)}).stdout


def test_stop_clears_up_after_a_killed_session(run_cli: RunCli, killed: Path) -> None:
    done = run_cli("stop", "--session-dir", str(killed))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "erased the secrets of the session that was killed in this directory",
        "the session is over",
    ]
    assert not (killed / "connection.yml").exists()
    assert not (killed / "ood-runtime" / "secret").exists()


def test_logs(run_cli: RunCli, killed: Path) -> None:
    both = run_cli("logs", "-n", "2", cwd=killed).stdout
    assert both == "==> jupyter <==\nline 28\nline 29\n==> spark-master <==\nno end of line\n"
    assert run_cli("logs", "jupyter", "-n", "1", cwd=killed).stdout == "line 29\n"
    assert run_cli("logs", "jupyter", "-n", "0", cwd=killed).stdout == ""
    assert run_cli("logs", "jupyter", "-f", cwd=killed).returncode == 0, "a session that is over has no more to follow"
    wrong = run_cli("logs", "spark", cwd=killed)
    assert wrong.returncode == 2
    assert "there are: jupyter, spark-master" in wrong.stderr

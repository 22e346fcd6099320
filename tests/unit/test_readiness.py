"""`publish` and `wait`: what they give, and how they end when there is nothing to wait for."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ood_runtime.cli.wait import assignments
from ood_runtime.errors import SessionError
from tests.unit.calls import REPOSITORY, RunCli, WaitUntil

CONNECTION = {"host": "a", "port": 1, "password": 'it\'s $(id) `id` \\n "x"\n#', "empty": ""}


@pytest.fixture
def ready(tmp_path: Path, wait_until: WaitUntil) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """The directory of a small session, and the process that starts it."""
    directory = tmp_path / "a session"
    program = REPOSITORY / "tests" / "support" / "small_start.py"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen([sys.executable, program, "start", "small", "--session-dir", directory], env=env) as process:
        yield directory, process
        process.terminate()
        process.wait(20)


def test_publish_elsewhere_is_private_and_goes_with_the_session(
    run_cli: RunCli, ready: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    directory, process = ready
    copy, foreign = tmp_path / "copy.yml", tmp_path / "foreign.yml"
    arguments = ("--session-dir", str(directory), "--pid", str(process.pid))
    for path in (copy, foreign, copy):
        done = run_cli("publish", str(path), *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert copy.read_text() == (directory / "connection.yml").read_text()
    assert copy.stat().st_mode & 0o777 == 0o600
    foreign.write_text("something else by now")

    process.terminate()
    assert process.wait(20) == 143
    assert not copy.exists()
    assert foreign.exists()
    over = run_cli("publish", str(copy), *arguments)
    assert over.returncode != 0
    assert "the session is over" in over.stderr
    assert not copy.exists()


def test_wait_gives_the_connection(run_cli: RunCli, ready: tuple[Path, subprocess.Popen[bytes]]) -> None:
    directory, process = ready
    arguments = ("wait", "--session-dir", str(directory), "--pid", str(process.pid))
    shell = run_cli(*arguments, "--shell").stdout
    echoed = subprocess.run(["sh", "-c", f'{shell}echo "$host $port"'], capture_output=True, text=True, check=True)
    values = yaml.safe_load((directory / "connection.yml").read_text())
    assert echoed.stdout == f"{values['host']} {values['port']}\n"
    assert json.loads(run_cli(*arguments, "--json").stdout) == values
    assert run_cli(*arguments).stdout == "the session is ready\n"
    assert run_cli(*arguments, "--json", "--shell").returncode == 2


def test_a_start_that_fails_leaves_the_word_of_a_session_that_runs(
    run_cli: RunCli, ready: tuple[Path, subprocess.Popen[bytes]]
) -> None:
    directory, process = ready
    assert run_cli("wait", "--session-dir", str(directory), "--pid", str(process.pid)).returncode == 0
    program = REPOSITORY / "tests" / "support" / "small_start.py"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "SMALL_SESSION": "missing"}
    second = [sys.executable, str(program), "start", "small", "--session-dir", str(directory)]
    assert subprocess.run(second, env=env, capture_output=True, check=False).returncode == 3
    assert json.loads((directory / "status.json").read_text())["state"] == "ready"


def test_publish_says_what_it_cannot_write(
    run_cli: RunCli, ready: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    directory, process = ready
    done = run_cli(
        "publish", str(tmp_path / "no" / "c.yml"), "--session-dir", str(directory), "--pid", str(process.pid)
    )
    assert done.returncode == 2
    assert "cannot write" in done.stderr


def test_a_killed_session_is_not_ready(run_cli: RunCli, ready: tuple[Path, subprocess.Popen[bytes]]) -> None:
    directory, process = ready
    arguments = ("--session-dir", str(directory), "--pid", str(process.pid))
    assert run_cli("wait", *arguments).returncode == 0
    record = json.loads((directory / "ood-runtime" / "session.json").read_text())
    for pid in (process.pid, record["pid"]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (record["pid"], process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait(20)
    done = run_cli("wait", *arguments)
    assert done.returncode == 5
    assert f"process {process.pid} ended" in done.stderr
    done = run_cli("wait", "--session-dir", str(directory))
    assert done.returncode == 5
    assert "killed before it could say why" in done.stderr
    run_cli("stop", "--session-dir", str(directory))


@pytest.mark.parametrize("place", ["missing", "empty"])
def test_no_session_is_told_at_once(run_cli: RunCli, tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    done = run_cli("wait", "--session-dir", str(tmp_path / place))
    assert done.returncode == 2
    assert "no session in" in done.stderr
    assert "--pid" in done.stderr


def test_waiting_for_a_session_to_begin_has_an_end(run_cli: RunCli, tmp_path: Path) -> None:
    begin = time.monotonic()
    done = run_cli("wait", "--session-dir", str(tmp_path / "missing"), "--timeout", "0.3")
    assert (done.returncode, "there is no session yet" in done.stderr) == (4, True)
    done = run_cli("wait", "--session-dir", str(tmp_path), "--pid", str(os.getpid()), "--timeout", "0.3")
    assert (done.returncode, "there is no session yet" in done.stderr) == (4, True)
    assert time.monotonic() - begin < 10


def test_a_directory_of_others_is_refused(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("open", "link"):
        done = run_cli("wait", "--session-dir", str(tmp_path / name), "--pid", str(os.getpid()))
        assert done.returncode == 2
        assert "another user's" in done.stderr


def test_what_an_older_session_said_is_not_the_new_ones_word(run_cli: RunCli, tmp_path: Path) -> None:
    error = {"what": "an old story", "remedy": "", "log": "", "exit_status": 3}
    state = {"state": "failed", "message": "an old story", "error": error, "ended_at": time.time() - 3600}
    (tmp_path / "status.json").write_text(json.dumps(state))
    waiting = run_cli("wait", "--session-dir", str(tmp_path), "--pid", str(os.getpid()), "--timeout", "0.3")
    assert waiting.returncode == 4
    asked = run_cli("wait", "--session-dir", str(tmp_path))
    assert (asked.returncode, "an old story" in asked.stderr) == (3, True)
    (tmp_path / "status.json").write_text(json.dumps({**state, "ended_at": time.time()}))
    failed = run_cli("wait", "--session-dir", str(tmp_path), "--pid", str(os.getpid()))
    assert failed.returncode == 3


def test_assignments_are_safe_to_eval() -> None:
    script = assignments(CONNECTION) + 'printf "%s|" "$host" "$port" "$password" "$empty"'
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "|".join(str(value) for value in CONNECTION.values()) + "|"


@pytest.mark.parametrize("key", ["a b", "x;id", "$(id)", "1a", ""])
def test_a_key_that_eval_would_run_is_refused(key: str) -> None:
    with pytest.raises(SessionError, match="names of variables"):
        assignments({key: "1"})

"""The command line: light where it can be, exact exit statuses, and words in the place of tracebacks."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from ood_runtime import session
from ood_runtime.cli import COMMANDS, group
from ood_runtime.cli.start import command as start_command
from ood_runtime.cli.status import duration, table
from ood_runtime.errors import OodRuntimeError, SettingsError
from tests.unit.conftest import REPOSITORY, RunCli, Spawn, WaitUntil

HEAVY = ("click", "pydantic", "pydantic_settings", "jinja2", "yaml", "passlib", "psutil", "importlib.metadata")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], [], ["--version"]])
def test_the_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from ood_runtime.cli import main; sys.argv[1:] = sys.argv[1:]; main();"
        "print('LOADED', *sorted({name for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    text, _, loaded = done.stdout.rpartition("LOADED")
    assert "ood-runtime" in text
    assert not set(loaded.split()) & set(HEAVY)
    assert {name for name in loaded.split() if name.startswith("ood_runtime")} == {"ood_runtime", "ood_runtime.cli"}


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys; before = set(sys.modules); import ood_runtime; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ood_runtime"]


def test_what_stays_for_days_loads_no_library_for_planning() -> None:
    program = "import sys, ood_runtime.lifecycle, ood_runtime.cli.start; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"pydantic", "pydantic_settings", "jinja2", "yaml", "passlib"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    context = click.Context(group.group)
    found = group.group.get_command(context, name)
    assert found
    done = CliRunner().invoke(found, ["--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
    assert name in group.group.list_commands(context)
    short = (found.help or "").splitlines()[0]
    assert short


def test_version(run_cli: RunCli) -> None:
    assert run_cli("--version").stdout.startswith("ood-runtime 0.")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run_cli: RunCli, shell: str) -> None:
    done = run_cli(env={"_OOD_RUNTIME_COMPLETE": f"{shell}_source"})
    if shell == "bash" and "4.4" in done.stderr:
        pytest.skip("needs Bash 4.4")
    assert done.returncode == 0, done.stderr
    assert "_OOD_RUNTIME_COMPLETE" in done.stdout


def test_completion_completes(run_cli: RunCli) -> None:
    env = {"_OOD_RUNTIME_COMPLETE": "bash_complete", "COMP_WORDS": "ood-runtime st", "COMP_CWORD": "1"}
    assert run_cli(env=env).stdout.split() == ["plain,start", "plain,status", "plain,stop"]


# --- exit statuses ---


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nonsense"], 2, "No such command"),
        (["start"], 2, "Missing argument"),
        (["start", "--nonsense", "jupyter"], 2, "No such option"),
        (["plan", "nonsense"], 2, "there is no app 'nonsense'; there are jupyter, jupyter-spark"),
        (["doctor", "nonsense"], 2, "there is no app"),
        (["plan", "jupyter", "--set", "hots=x"], 2, "--set hots: hots is not a setting; did you mean host?"),
        (["plan", "jupyter", "--config", "/nonexistent.yml"], 2, "/nonexistent.yml: no such file"),
        (["plan", "jupyter", "--set", "jupyter.command=/nonexistent/jupyter-lab"], 3, "no Jupyter: /nonexistent"),
        (["plan", "jupyter", "--set", "host=no.such.host.invalid"], 2, "is not an address of this node"),
        (["config", "explain", "hots"], 2, "did you mean"),
        (["config", "show", "--set", "x"], 2, "should be KEY=VALUE"),
        (["status"], 2, "no session in"),
        (["logs"], 2, "no log"),
        (["stop"], 2, "no session in"),
        (["status", "--session-dir", "/nonexistent"], 2, "no session in /nonexistent"),
        (["logs", "--session-dir", "/nonexistent", "jupyter"], 2, "no log jupyter in /nonexistent/logs"),
        (["stop", "--session-dir", "/nonexistent"], 2, "name its directory with --session-dir"),
    ],
)
def test_errors_are_words_with_an_exit_status(
    arguments: list[str],
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["ood-runtime", *arguments])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        group.run()
    shown = capsys.readouterr()
    assert ended.value.code == status, shown.err
    assert words in shown.err
    assert shown.out == ""


def test_an_error_is_no_traceback_for_the_shell_either(run_cli: RunCli) -> None:
    done = run_cli("plan", "jupyter", "--set", "hots=x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "ood-runtime: --set hots: hots is not a setting; did you mean host?\n"
        "  what to do: `ood-runtime config explain KEY` tells what a key means\n"
    )


def test_an_error_has_its_log_and_its_remedy_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    group.report(OodRuntimeError("it failed", log="/x.log", remedy="mend it"))
    assert capsys.readouterr().err == "ood-runtime: it failed\n  log: /x.log\n  what to do: mend it\n"


def test_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("ood_runtime.guard.run", lambda work: pytest.fail("a session was started"))
    with pytest.raises(SettingsError, match="refuses to run as root") as caught:
        start_command.main(["jupyter"], standalone_mode=False)
    assert "--allow-root" in caught.value.remedy
    assert caught.value.exit_status == 2


def test_root_is_let_through_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("ood_runtime.guard.run", lambda work: 42)
    with pytest.raises(SystemExit) as caught:
        start_command.main(["jupyter", "--allow-root"], standalone_mode=False)
    assert caught.value.code == 42


# --- config, apps, doctor ---


def test_config_show_tells_values_and_sources(run_cli: RunCli) -> None:
    done = run_cli("config", "show", "--json", env={"OOD_RUNTIME_PORTS__MIN": "21000"})
    shown = json.loads(done.stdout)
    assert shown["ports.min"] == {"value": 21000, "source": "$OOD_RUNTIME_PORTS__MIN"}
    assert shown["ports.max"] == {"value": 32767, "source": "built in"}
    plain = run_cli("config", "show", "--set", "spark.conf.spark.x.password=hunter2").stdout
    assert "hunter2" not in plain
    assert "--set spark.conf.spark.x.password" in plain


def test_config_schema_is_json(run_cli: RunCli) -> None:
    assert "spark" in json.loads(run_cli("config", "schema").stdout)["properties"]


def test_config_explain(run_cli: RunCli) -> None:
    assert "  type:     integer from 1024 up to 65535" in run_cli("config", "explain", "ports.min").stdout


NOTHING = {"PATH": "/nonexistent", "TMPDIR": "/nonexistent", "SPARK_HOME": "/nonexistent", "JAVA_HOME": "/nonexistent"}
NO_JUPYTER = ("--set", "jupyter.command=/nonexistent/jupyter-lab", "--set", "spark.java_home=/nonexistent")


def test_apps_tells_what_is_missing(run_cli: RunCli) -> None:
    done = run_cli("apps", "--json", *NO_JUPYTER, env=NOTHING)
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout)
    assert set(missing) == {"jupyter", "jupyter-spark"}
    assert "no Jupyter" in missing["jupyter"]
    for word in ("no Jupyter", "SPARK_HOME", "spark.java_home"):
        assert word in missing["jupyter-spark"]
    assert "✗ jupyter-spark" in run_cli("apps", *NO_JUPYTER, env=NOTHING).stdout


def test_doctor_with_nothing_installed(run_cli: RunCli) -> None:
    done = run_cli("doctor", "--json", *NO_JUPYTER, env={**NOTHING, "HOME": "/proc"})
    assert done.returncode == 3, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert {what for what, finding in findings.items() if finding["state"] == "bad"} >= {"Jupyter", "Spark", "Java"}
    assert findings["home directory"]["state"] == "warning"
    assert findings["scratch space"]["state"] == "warning"
    assert all(finding["remedy"] for finding in findings.values() if finding["state"] == "bad")
    plain = run_cli("doctor", *NO_JUPYTER, env=NOTHING)
    assert plain.returncode == 3
    assert "✗ Jupyter" in plain.stdout


def test_doctor_for_one_app_looks_at_what_it_needs(run_cli: RunCli) -> None:
    whats = {finding["what"] for finding in json.loads(run_cli("doctor", "jupyter", "--json", env=NOTHING).stdout)}
    assert "Jupyter" in whats
    assert not whats & {"Spark", "Java"}


# --- what is said about a session ---


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
        from ood_runtime.plan import File
        from ood_runtime.private_files import write
        from ood_runtime.status import READY, Status

        used = session.Session(root, "jupyter", tmp_path).__enter__()
        used.write([File("secret", "hunter2", secret=True)])
        (root / "logs" / "jupyter.log").write_text("".join(f"line {i}\n" for i in range(30)))
        (root / "logs" / "spark-master.log").write_text("no end of line")
        Status(root, used.id, "jupyter", "node1").phase(READY, "ready")
        write(root / "connection.yml", "password: hunter2")
        signal.pause()
        return 0

    pid = spawn(work, tmp_path / "output")
    wait_until(lambda: (root / "connection.yml").exists())
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

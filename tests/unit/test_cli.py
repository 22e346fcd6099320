"""The command line: light where it can be, exact exit statuses, and words in the place of tracebacks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from ood_runtime.cli import COMMANDS, group
from ood_runtime.cli.apps import command as apps_command
from ood_runtime.cli.doctor import command as doctor_command
from ood_runtime.cli.start import command as start_command
from ood_runtime.errors import OodRuntimeError, SettingsError
from tests.unit.calls import REPOSITORY, RunCli

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


def test_the_guard_is_as_small_as_can_be() -> None:
    program = "import sys, ood_runtime.guard; print(*(name for name in sys.modules if name.startswith('ood_runtime.')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"ood_runtime.guard", "ood_runtime.kernel", "ood_runtime.signals"}


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
    monkeypatch.setattr("ood_runtime.lifecycle.run", lambda *arguments: pytest.fail("a session was started"))
    with pytest.raises(SettingsError, match="refuses to run as root") as caught:
        start_command.main(["jupyter"], standalone_mode=False)
    assert "--allow-root" in caught.value.remedy
    assert caught.value.exit_status == 2


def test_root_is_let_through_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("ood_runtime.lifecycle.run", lambda planner, request, *others: 42 if request.allow_root else 0)
    supervised = SimpleNamespace(planner=None, announce=None)
    with pytest.raises(SystemExit) as caught:
        start_command.main(["jupyter", "--allow-root"], standalone_mode=False, obj=supervised)
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
    assert set(missing) == {"jupyter", "jupyter-spark", "rstudio", "rstudio-spark"}
    assert "no Jupyter" in missing["jupyter"]
    for word in ("no Jupyter", "SPARK_HOME", "spark.java_home"):
        assert word in missing["jupyter-spark"]


def test_doctor_with_nothing_installed(run_cli: RunCli) -> None:
    done = run_cli("doctor", "--json", *NO_JUPYTER, env={**NOTHING, "HOME": "/proc"})
    assert done.returncode == 3, done.stderr
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert {what for what, finding in findings.items() if finding["state"] == "bad"} >= {"Jupyter", "Spark", "Java"}
    assert findings["home directory"]["state"] == "warning"
    assert findings["scratch space"]["state"] == "warning"
    assert all(finding["remedy"] for finding in findings.values() if finding["state"] == "bad")


def test_apps_and_doctor_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**NOTHING, "OOD_RUNTIME_SITE_CONFIG": "/dev/null", "XDG_CONFIG_HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(apps_command, NO_JUPYTER)
    assert "✗ jupyter-spark" in shown.output
    broken = ("--set", "environment.venv=/nonexistent")
    assert "environment.venv: /nonexistent is not there" in CliRunner().invoke(apps_command, broken).output
    checked = CliRunner().invoke(doctor_command, [*NO_JUPYTER, *broken])
    assert "✗ environment" in checked.output
    assert checked.exit_code == 3
    assert "✗ Jupyter" in checked.output
    assert "→ " in checked.output


def test_doctor_for_one_app_looks_at_what_it_needs(run_cli: RunCli) -> None:
    environment = ("--set", "environment.shell=export A=b B=c")
    findings = json.loads(run_cli("doctor", "jupyter", "--json", *environment, env=NOTHING).stdout)
    whats = {finding["what"]: finding["detail"] for finding in findings}
    assert "Jupyter" in whats
    assert not set(whats) & {"Spark", "Java"}
    assert whats["environment"] == "the lines of environment.shell: changes 2 variables"


def test_doctor_looks_at_memory_and_the_portal_of_a_job(run_cli: RunCli) -> None:
    def found(*overrides: str, **env: str) -> dict[str, dict[str, str]]:
        arguments = [word for override in overrides for word in ("--set", override)]
        done = run_cli("doctor", "jupyter-spark", "--json", *arguments, env={**NOTHING, **env})
        return {finding["what"]: finding for finding in json.loads(done.stdout)}

    assert found()["memory"]["state"] == "good"
    assert "portal" not in found(), "no job: maybe nobody comes through a portal"
    job = {"LSB_JOBID": "7", "LSB_MCPU_HOSTS": f"{os.uname().nodename} 2", "LSB_HOSTS": ""}
    assert found(**job)["portal"]["state"] == "warning"
    assert found("portal.origin=https://portal.example", **job)["portal"]["state"] == "good"
    small = found("spark.driver.memory=999g", "spark.worker.memory=999g")["memory"]
    assert small["state"] == "bad" and small["remedy"]


def test_a_wrong_place_and_missing_software_are_told_together(run_cli: RunCli) -> None:
    wrong = ("--set", "host=no.such.host.invalid", "--set", "scratch_dir=/nonexistent")
    done = run_cli("plan", "jupyter-spark", *wrong, *NO_JUPYTER)
    assert done.returncode == 2
    for words in ("no.such.host.invalid is not an address", "scratch_dir: /nonexistent", "no Jupyter", "java_home"):
        assert words in done.stderr

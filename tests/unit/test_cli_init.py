"""``ood-runtime init``: what it asks, what it refuses, and what it does to files that are there."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from ood_runtime.errors import SettingsError
from ood_runtime.portal_app import APPS, SCHEDULERS, Answers, check, files
from ood_runtime.render import erb, rb, yaml
from tests.unit.calls import REPOSITORY, RunCli

EXAMPLES = REPOSITORY / "examples" / "portal"


def test_a_second_time_nothing_changes(run_cli: RunCli, tmp_path: Path) -> None:
    arguments = ("init", "jupyter-spark", str(tmp_path / "app"), "--cluster", "owens")
    first = run_cli(*arguments)
    assert first.returncode == 0, first.stderr
    assert {line.split()[0] for line in first.stdout.splitlines()} == {"written"}
    assert os.access(tmp_path / "app" / "template" / "script.sh", os.X_OK)
    second = run_cli(*arguments)
    assert {line.split()[0] for line in second.stdout.splitlines()} == {"unchanged"}


def test_what_somebody_changed_is_left_alone_and_named(run_cli: RunCli, tmp_path: Path) -> None:
    app = tmp_path / "app"
    arguments = ("init", "jupyter", str(app), "--cluster", "owens")
    run_cli(*arguments)
    (app / "form.yml").write_text("mine")
    (app / "manifest.yml").unlink()
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert str(app / "form.yml") in done.stderr
    assert "nothing was written" in done.stderr
    assert (app / "form.yml").read_text() == "mine"
    assert not (app / "manifest.yml").exists()
    done = run_cli(*arguments, "--force")
    assert f"replaced   {app}/form.yml (yours is form.yml.orig)\n" in done.stdout
    assert (app / "form.yml.orig").read_text() == "mine"
    assert f"written    {app}/manifest.yml" in done.stdout
    assert (app / "form.yml").read_text().startswith("---")


def test_where_nobody_can_be_asked_the_cluster_is_needed(run_cli: RunCli, tmp_path: Path) -> None:
    done = run_cli("init", "jupyter", str(tmp_path / "app"))
    assert done.returncode == 2
    assert "--cluster" in done.stderr
    assert not (tmp_path / "app").exists()


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ood_runtime", "init", "jupyter-spark", str(tmp_path / "app")]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        os.close(theirs)
        os.write(ours, b"owens\ntorque\nspark/4.0\n/opt/jupyter/bin/jupyter-lab\nhttps://portal.example/\n")
        output, errors = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0, errors
    assert b"Spark" in output
    assert 'cluster: "owens"' in (tmp_path / "app" / "form.yml").read_text()
    assert "ppn" in (tmp_path / "app" / "submit.yml.erb").read_text()
    assert "module load spark/4.0 " in (tmp_path / "app" / "template" / "before.sh").read_text()
    settings = (tmp_path / "app" / "template" / "settings.yml.erb").read_text()
    assert "'/opt/jupyter/bin/jupyter-lab'" in settings
    assert "'https://portal.example'" in settings
    assert errors == b""


def test_what_the_nodes_may_lack_is_told(run_cli: RunCli, tmp_path: Path) -> None:
    def doubts(app: str, *more: str, env: dict[str, str] | None = None) -> list[str]:
        done = run_cli("init", app, str(tmp_path / app), "--cluster", "owens", "--force", *more, env=env)
        assert done.returncode == 0
        return done.stderr.splitlines()

    (portal,) = doubts("jupyter")
    assert portal.startswith("note: ") and "portal.origin" in portal
    assert doubts("jupyter", "--portal", "https://portal.example") == []
    assert doubts("jupyter", env={"OOD_RUNTIME_PORTAL__ORIGIN": "https://portal.example"}) == []
    assert doubts("rstudio") == []
    (program,) = doubts("rstudio", "--program", "/nowhere/ood-runtime")
    assert "/nowhere/ood-runtime is no program on this machine" in program


def test_jobs_start_the_program_that_has_written_the_app(tmp_path: Path) -> None:
    program = tmp_path / "a place" / "ood-runtime"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom ood_runtime.cli import main\nmain()\n")
    program.chmod(0o755)
    command = [str(program), "init", "rstudio", str(tmp_path / "app"), "--cluster", "owens"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, stdin=subprocess.DEVNULL, env=env, check=True)
    assert f"exec '{program}' start rstudio" in (tmp_path / "app" / "template" / "script.sh").read_text()


def test_all_answers_that_are_wrong_are_told_at_once() -> None:
    wrong = Answers(
        "word", "../x", scheduler="at", modules=("a b", "$(id)"), program="", portal="ondemand", title="two\nlines"
    )
    with pytest.raises(SettingsError) as told:
        check(wrong)
    for word in ("'word'", "'../x'", "'at'", "'a b'", "'$(id)'", "program", "'ondemand'", "title"):
        assert word in told.value.what


@pytest.mark.parametrize("app", APPS)
def test_the_examples_are_what_init_writes(app: str) -> None:
    expected = {file.name: file.content for file in files(Answers(app=app, cluster="cluster"))}
    paths = [path for path in (EXAMPLES / app).rglob("*") if path.is_file()]
    command = f"ood-runtime init {app} examples/portal/{app} --cluster cluster --program ood-runtime --force"
    assert {str(path.relative_to(EXAMPLES / app)): path.read_text() for path in paths} == expected, command


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_line_is_code_for_markdown(app: str, scheduler: str) -> None:
    """On a page of the card, a blank line ends the HTML, and four blanks begin code."""
    for file in files(Answers(app=app, cluster="c", scheduler=scheduler)):
        if file.name.endswith(".html.erb"):
            text = file.content.partition("\n-%>\n")[2]
            assert "\n\n" not in text
            assert "\n    " not in text


def test_quoting() -> None:
    assert yaml('a"b: é\n') == '"a\\"b: é\\n"'
    assert rb("it's \\ %>") == "'it\\'s \\\\ %%>'"
    assert erb("<% x %>") == "<%% x %>"

"""The macro that loads an environment, read by the real bash, with functions that write down how they are called."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pytest

from ood_runtime import render
from ood_runtime.settings.environment import Environment

ODD = ["a b", "it's", 'say "x"', "$HOME/`x`", "päckchen/1.0", "back\\slash", "semi;colon", "*"]
FUNCTIONS = r"""
module() {
    [ "$1" != is-loaded ] || return 1
    printf 'module<%s>' "${@}" >>"$LOG"; echo >>"$LOG"
    [ "$1" != load ] || for name in "${@:2}"; do
        case $name in broken) echo "cannot read broken" >&2; return 1 ;; old) echo "ERROR:105" >&2; continue ;; esac
        LOADEDMODULES=$LOADEDMODULES:$name
    done
}
conda() { printf 'conda<%s>' "$@" >>"$LOG"; echo >>"$LOG"; CONDA_DEFAULT_ENV=$2; [ "$2" != none ]; }
export -f module conda
"""


def run(environment: Environment, log: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Load ``environment`` after the functions above, and then print the arguments and some variables."""
    template = render._environment().from_string(
        '{% import "environment.sh.j2" as environments %}{{ environments.load(environment) }}'
        'printf "%s|" "$@" "$PATH" "${VIRTUAL_ENV-}" "${SHELL_LINES-}"'
    )
    assert template.environment.undefined is jinja2.StrictUndefined
    script = log.with_name("script")
    script.write_text(f"{FUNCTIONS}\n{template.render(environment=environment)}")
    return subprocess.run(
        ["bash", "--norc", script, "first argument", "second"],
        env={"PATH": "/usr/bin:/bin", "LOG": str(log), **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_nothing_is_nothing(tmp_path: Path) -> None:
    done = run(Environment(), tmp_path / "log")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "first argument|second|/usr/bin:/bin|||"
    assert not Environment().loads
    assert Environment().steps == ()


def test_the_order_is_that_of_the_keys(tmp_path: Path) -> None:
    environment = Environment(shell="echo >>$LOG shell", conda="c", modules=["b", "a"], collection="k", purge=True)
    assert run(environment, tmp_path / "log").returncode == 0
    assert (tmp_path / "log").read_text().splitlines() == [
        "module<purge>",
        "module<restore>module<k>",
        "module<load>module<b>module<a>",
        "conda<activate>conda<c>",
        "shell",
    ]
    assert [step.split()[1] for step in environment.steps] == ["purge", "restore", "load", "activate", "lines"]


def test_odd_names_arrive_as_they_are(tmp_path: Path) -> None:
    for name in ODD:
        (tmp_path / "log").unlink(missing_ok=True)
        done = run(Environment(modules=[name], collection=name, conda=name), tmp_path / "log")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "log").read_text().splitlines() == [
            f"module<restore>module<{name}>", f"module<load>module<{name}>", f"conda<activate>conda<{name}>",
        ]  # fmt: skip


def test_the_arguments_of_the_script_stay(tmp_path: Path) -> None:
    environment = Environment(modules=["a"], conda="c", shell="SHELL_LINES='two\nlines'")
    assert run(environment, tmp_path / "log").stdout == "first argument|second|/usr/bin:/bin||two\nlines|"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"modules": ["good", "broken"]}, "cannot read broken\nood-runtime: module load good broken has failed"),
        # Environment Modules up to 3.2 say so, and give 0.
        ({"modules": ["good", "old"]}, "ERROR:105\nood-runtime: module load old has failed: the module is not loaded"),
        ({"conda": "none"}, "ood-runtime: conda activate none has failed"),
        ({"venv": "/no/where"}, "ood-runtime: no virtual environment: /no/where/bin/python cannot be run"),
        ({"shell": "echo before >&2\nfalse"}, "before\nood-runtime: the last line of environment.shell has failed"),
    ],
)
def test_a_step_that_fails_ends_it_with_the_reason(
    environment: Mapping[str, object], reason: str, tmp_path: Path
) -> None:
    done = run(Environment.model_validate(environment), tmp_path / "log")
    assert (done.returncode, done.stdout, done.stderr.strip()) == (3, "", reason)


@pytest.mark.parametrize("name", ["plain", *ODD[:5]])
def test_a_virtual_environment_comes_first(name: str, tmp_path: Path) -> None:
    python = tmp_path / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/true")
    done = run(Environment(venv=tmp_path / name), tmp_path / "log", PYTHONHOME="/elsewhere")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("|")[2:4] == [f"{python.parent}:/usr/bin:/bin", str(tmp_path / name)]


def test_what_is_said_is_not_taken_for_output(tmp_path: Path) -> None:
    done = run(Environment(shell="echo hello"), tmp_path / "log")
    assert (done.stderr, done.stdout.partition("|")[0]) == ("hello\n", "first argument")

"""Loading an environment by real Lmod and real Environment Modules, and a conda that keeps to conda's contract."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ood_runtime import environment_check, environment_load, environment_names
from ood_runtime.errors import MissingError
from ood_runtime.settings.environment import Environment
from tests.standins import conda
from tests.support.modules import KINDS, ODD_NAMES, Modules, need_modules

SYSTEM = "/usr/bin:/bin"


@pytest.fixture(params=KINDS)
def modules(request: pytest.FixtureRequest, tmp_path: Path) -> Modules:
    """Two versions of Python, and one module that is broken."""
    found = need_modules(request.param, tmp_path / "modules")
    for version in ("3.11", "3.12"):
        found.write(f"python/{version}", tmp_path / version / "bin", PYTHON_MODULE=version)
    if found.kind == "lmod":
        found.write_text("broken/1.0.lua", "setenv('BROKEN', 'half')\nno_such_function()")
    else:
        found.write_text("broken/1.0", "#%Module\nsetenv BROKEN half\nno-such-command")
    return found


def job(modules: Modules | None, tmp_path: Path, **more: str) -> dict[str, str]:
    """A job without anything of ours."""
    own = {"PATH": SYSTEM, "HOME": str(tmp_path), "LANG": "C.UTF-8", "OF_THE_JOB": "two\nlines"}
    return {**own, **(modules.environment if modules else {}), **more}


def load(environment: Mapping[str, object], of: Mapping[str, str]) -> dict[str, str]:
    return environment_check.load(Environment.model_validate(environment), of)


def errors(environment: Mapping[str, object], of: Mapping[str, str]) -> str:
    with pytest.raises(MissingError) as caught:
        load(environment, of)
    assert caught.value.exit_status == 3
    return caught.value.what + (f"\n    {caught.value.remedy}" if caught.value.remedy else "")


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_a_module(modules: Modules, version: str, tmp_path: Path) -> None:
    before = job(modules, tmp_path, PWD="/somewhere", SHLVL="7")
    after = load({"modules": [f"python/{version}"]}, before)
    assert after["PYTHON_MODULE"] == version
    assert after["PATH"] == f"{tmp_path / version / 'bin'}:{SYSTEM}"
    assert {name: after[name] for name in before if name != "PATH"} == {
        name: value for name, value in before.items() if name != "PATH"
    }
    assert after["LOADEDMODULES"] == f"python/{version}"
    # For shells of kernels and terminals
    assert "BASH_FUNC_module%%" in after
    assert not [name for name in after if name.startswith("ood_") or name in ("_", "OLDPWD")]


def test_odd_names(modules: Modules, tmp_path: Path) -> None:
    for number, name in enumerate(ODD_NAMES):
        modules.write(name, **{f"WHO_{number}": name})
    after = load({"modules": ODD_NAMES}, job(modules, tmp_path))
    assert [after[f"WHO_{number}"] for number in range(len(ODD_NAMES))] == list(ODD_NAMES)
    assert set(ODD_NAMES) <= set(environment_names.modules(job(modules, tmp_path)))


def test_a_later_module_takes_the_place_of_what_the_job_has(modules: Modules, tmp_path: Path) -> None:
    loaded = load({"modules": ["python/3.11"]}, job(modules, tmp_path))
    modules.write("other", OTHER="yes")
    assert load({"modules": ["other"]}, loaded)["PYTHON_MODULE"] == "3.11"
    purged = load({"purge": True, "modules": ["other"]}, loaded)
    assert (purged["OTHER"], purged["PATH"], "PYTHON_MODULE" in purged) == ("yes", SYSTEM, False)


def test_a_collection(modules: Modules, tmp_path: Path) -> None:
    before = job(modules, tmp_path)
    load({"modules": ["python/3.12"], "shell": "module save my-collection"}, before)
    assert load({"collection": "my-collection"}, before)["PYTHON_MODULE"] == "3.12"
    said = errors({"collection": "my-colection"}, before)
    assert "environment.collection: there is no module collection my-colection" in said
    assert "did you mean my-collection?" in said


def test_all_that_is_wrong_is_told_at_once(modules: Modules, tmp_path: Path) -> None:
    environment = {
        "modules": ["pyhton/3.12", "python/3.11", "broken/1.0"],
        "more_modules": ["python/3.13"],
        "venv": str(tmp_path / "my-vnv"),
        "shell": "source of-a-module-that-is-not-there",
        "container": str(tmp_path / "imag.sif"),
    }
    (tmp_path / "image.sif").touch()
    (tmp_path / "my-venv/bin").mkdir(parents=True)
    (tmp_path / "my-venv/bin/python").symlink_to(sys.executable)
    lines = errors(environment, job(modules, tmp_path)).splitlines()
    assert lines[:2] == [
        f"environment.container: {tmp_path}/imag.sif is not there", f"    did you mean {tmp_path}/image.sif?",
    ]  # fmt: skip
    assert lines[2:4] == [
        "environment.modules: there is no module pyhton/3.12",
        "    did you mean python/3.12 or python/3.11?",
    ]
    assert lines[4].startswith("environment: module load broken/1.0 has failed; it said: ")
    assert "no_such_function" in lines[4] or "no-such-command" in lines[4]
    assert lines[6:8] == [
        "environment.more_modules: there is no module python/3.13",
        "    did you mean python/3.12 or python/3.11?",
    ]
    assert lines[8:] == [f"environment.venv: {tmp_path}/my-vnv is not there", f"    did you mean {tmp_path}/my-venv?"]


def test_modules_are_found_by_what_the_job_has(modules: Modules, tmp_path: Path) -> None:
    """By a function that a shell has exported, by the file that each bash reads, by the place of the module system."""
    path = {"MODULEPATH": str(modules.tree)}
    function = load({"modules": ["python/3.11"]}, job(modules, tmp_path))
    exported = {name: value for name, value in function.items() if name.startswith("BASH_FUNC_")}
    more = {name: function[name] for name in ("LMOD_CMD", "LMOD_DIR", "MODULES_CMD") if name in function}
    ways = [exported | more, {"BASH_ENV": str(modules.home / "init/bash")}, {"MODULESHOME": str(modules.home)}]
    ways += [{"LMOD_PKG": str(modules.home)}] if modules.kind == "lmod" else []
    for way in ways:
        after = load({"modules": ["python/3.12"]}, job(None, tmp_path, **path, **way))
        assert after["PYTHON_MODULE"] == "3.12", way


def test_modules_are_found_as_a_login_does(tmp_path: Path) -> None:
    modules = need_modules("lmod", tmp_path / "modules")
    if not Path("/etc/profile.d/lmod.sh").exists():
        pytest.skip("Lmod is not set up for logins here")
    modules.write("a", A="yes")
    after = load({"modules": ["a"]}, job(None, tmp_path, MODULEPATH=str(modules.tree), PATH=f"/of/the/job:{SYSTEM}"))
    assert after["A"] == "yes"
    assert after["PATH"].startswith("/of/the/job:")


def test_every_byte_of_a_value_stays(tmp_path: Path) -> None:
    odd = "two\nlines, a quote ', a \udcff and a = sign\n"
    after = load({"shell": 'export NEW="$ODD=x"; exec 3>&1'}, job(None, tmp_path, ODD=odd))
    assert (after["ODD"], after["NEW"]) == (odd, f"{odd}=x")


@pytest.mark.parametrize(
    ("shell", "reason"),
    [
        ("exit 7", "the shell that loads it has ended with 7"),
        ("exit", "the shell that loads it has ended with 0"),
        ("echo oh dear >&2; false", "the last line of environment.shell has failed; it said: oh dear"),
        ("nonsense here", "nonsense: command not found"),
        ("kill -KILL $$", "the shell that loads it has ended with -9"),
    ],
)
def test_lines_that_fail(shell: str, reason: str, tmp_path: Path) -> None:
    assert reason in errors({"shell": shell}, job(None, tmp_path))


def test_what_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_load, "_SECONDS", 0.3)
    said = errors({"shell": f"sleep 98.7 & echo $! >{tmp_path}/pid; wait"}, job(None, tmp_path))
    assert "was not loaded within 0.3 s" in said
    pid, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_bash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "defpath", "/nowhere")
    assert "there is no bash on this node" in errors({"shell": "true"}, job(None, tmp_path, PATH="/nowhere"))


def test_no_modules_on_this_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment_names, "modules", lambda job: [])
    function = {"BASH_FUNC_module%%": "() { echo 'module: not set up' >&2; return 127\n}"}
    said = errors({"modules": ["a", "b"]}, job(None, tmp_path, **function))
    assert said.splitlines()[0] == "environment: module load a has failed; it said: module: not set up"


# --- conda ---


@pytest.mark.parametrize("way", ["PATH", "CONDA_EXE", "hook", "micromamba", "MAMBA_EXE"])
def test_conda_is_found(way: str, tmp_path: Path) -> None:
    micromamba = way in ("micromamba", "MAMBA_EXE")
    installed = conda.install(tmp_path / "conda root", micromamba=micromamba, with_file=way != "hook")
    prefix = installed.environment("my-env", OF_THE_ENVIRONMENT="it's")
    own = {way: str(installed.program)} if way.endswith("_EXE") else {"PATH": f"{installed.program.parent}:{SYSTEM}"}
    after = load({"conda": "my-env"}, job(None, tmp_path, **own))
    assert after["OF_THE_ENVIRONMENT"] == "it's"
    assert (after["CONDA_PREFIX"], after["CONDA_DEFAULT_ENV"]) == (str(prefix), "my-env")
    assert after["PATH"].startswith(f"{prefix}/bin:")
    said = errors({"conda": "my-enw"}, job(None, tmp_path, **own))
    assert said == "environment.conda: there is no conda environment my-enw\n    did you mean my-env?"


def test_conda_environments_with_odd_names(tmp_path: Path) -> None:
    installed = conda.install(tmp_path / "conda")
    before = job(None, tmp_path, CONDA_EXE=str(installed.program))
    for name in ("blanks in it", "semi;colon", "ümläut", "it's"):
        installed.environment(name, WHO=name)
        assert load({"conda": name}, before)["WHO"] == name
        assert load({"conda": name}, before)["PATH"] == f"{installed.root}/envs/{name}/bin:{SYSTEM}"
    for name in ("päth", "it's"):
        prefix = installed.environment(str(tmp_path / "else where" / name), WHO=f"{name} by path")
        assert load({"conda": f"{prefix}/"}, before)["WHO"] == f"{name} by path"


def test_conda_that_activates_nothing_and_gives_0(tmp_path: Path) -> None:
    function = {"BASH_FUNC_conda%%": "() { :\n}"}
    said = errors({"conda": "mine"}, job(None, tmp_path, **function))
    assert said.splitlines()[0] == "environment: conda activate mine has failed: another environment is active"


def test_conda_comes_with_a_module(modules: Modules, tmp_path: Path) -> None:
    installed = conda.install(tmp_path / "conda")
    installed.environment("mine", WHO="mine")
    modules.write("anaconda/2026", installed.program.parent)
    environment = {"modules": ["anaconda/2026"], "conda": "mine"}
    assert load(environment, job(modules, tmp_path))["WHO"] == "mine"
    # What follows from a module that is missing is no error of its own.
    said = errors({**environment, "modules": ["anaconda/2025"]}, job(modules, tmp_path))
    assert said.splitlines() == [
        "environment.modules: there is no module anaconda/2025", "    did you mean anaconda/2026?",
    ]  # fmt: skip


def test_no_conda(tmp_path: Path) -> None:
    assert "no conda, mamba or micromamba on PATH" in errors({"conda": "mine"}, job(None, tmp_path))

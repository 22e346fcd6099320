"""What is found in environments of all kinds, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from ood_runtime import kernel_cache, kernel_finder, kernel_places
from ood_runtime.kernel_places import Place
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings.environment import Environment
from ood_runtime.settings.kernels import Kernels
from tests.standins.conda import install
from tests.support import software


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}


def look(place: Place, environment: dict[str, str], seconds: float = 60) -> list[Kernel]:
    (found,) = kernel_finder.look([place], seconds, environment)
    return found


def shell(lines: str) -> Place:
    return Place("environment", "own", Environment(shell=lines))


def test_a_virtual_environment_and_its_like(tmp_path: Path, environment: dict[str, str]) -> None:
    good, bare = software.venv(tmp_path / "it's good"), software.venv(tmp_path / "bare", ipykernel=False)
    software.julia_at(good / "bin" / "julia")
    settings = Kernels(venvs=[f"{tmp_path}/*", "$NONE/*", "~/*"])
    places = kernel_places.find(settings, environment)
    assert [place.name for place in places] == [str(bare), str(good)]
    without, python = [kernel for found in kernel_finder.look(places, 60, environment) for kernel in found]
    assert (python.language, python.program, python.missing, bool(python.version)) == ("python", "python3", "", True)
    assert (without.language, without.missing) == ("python", "ipykernel is not installed")
    assert without.remedy == f"{bare}/bin/python3 -m pip install ipykernel"


def test_what_an_environment_does_not_change_is_not_its_own(tmp_path: Path, environment: dict[str, str]) -> None:
    (found,) = look(shell("export CC=gcc"), environment)
    assert found.missing == "brings no Python, R or Julia of its own"
    assert look(Place("module", "gcc"), environment) == []
    julia = software.julia_at(tmp_path / "bin" / "julia")
    (found,) = look(shell(f"PATH={julia.parent}:$PATH; echo path python /x; echo noise >&2"), environment)
    assert (found.language, found.version, found.missing) == ("julia", "1.10.4", "")
    loaded = {**environment, "PATH": f"{julia.parent}:/bin", "LOADEDMODULES": "gcc/12:julia/1.10"}
    languages = [kernel.language for kernel in look(Place("module", "julia/1.10"), loaded)]
    assert "julia" in languages, "a module that the job has loaded before"


def test_what_is_missing_is_said_with_the_command(tmp_path: Path, environment: dict[str, str]) -> None:
    julia = software.julia_at(tmp_path / "bin" / "julia", ijulia=False)
    (found,) = look(shell(f"PATH={julia.parent}:$PATH"), environment)
    assert found.missing == "IJulia is not installed"
    assert found.remedy == f"""{julia} -e 'using Pkg; Pkg.add("IJulia")'"""
    r = tmp_path / "r" / "R"
    r.parent.mkdir()
    r.write_text("#!/bin/sh\necho version 4.3.1\necho \"there is no package called 'IRkernel'\" >&2\nexit 1\n")
    r.chmod(0o755)
    (found,) = look(shell(f"PATH={r.parent}:$PATH"), environment)
    assert (found.version, found.missing) == ("4.3.1", "IRkernel is not installed")
    r.write_text("#!/bin/sh\necho libR.so is missing >&2\nexit 127\n")
    (found,) = look(shell(f"PATH={r.parent}:$PATH"), environment)
    assert found.missing.startswith(f"{r} cannot be run: ") and "libR.so is missing" in found.missing


def test_what_cannot_be_loaded(environment: dict[str, str]) -> None:
    (found,) = look(shell("echo the licence is over >&2; false"), environment)
    assert found.missing == "the last line of environment.shell has failed: the licence is over"
    (found,) = look(shell("sleep 60"), environment, seconds=0.2)
    assert found.missing == "gave no answer within 0.2 s"


def test_conda_environments_by_name_and_by_path(tmp_path: Path, environment: dict[str, str]) -> None:
    conda = install(tmp_path / "conda")
    environment["CONDA_EXE"] = str(conda.program)
    geo = conda.environment("geo")
    conda.environment("chem")
    elsewhere = tmp_path / "data" / "own"
    (elsewhere / "conda-meta").mkdir(parents=True)
    places = kernel_places.find(Kernels(conda=["g*", f"{tmp_path}/data/*"]), environment)
    assert [place.environment.conda for place in places] == [str(geo), str(elsewhere)]


def test_what_was_found_is_remembered_for_these_settings(environment: dict[str, str]) -> None:
    settings = Kernels(modules=["python/*"])
    kernel = Kernel("module", "python/3", Environment(modules=["python/3"]), "python", "python3", "3.12.1")
    assert kernel_cache.read(settings, environment) == ()
    kernel_cache.keep([kernel], settings, environment)
    assert kernel_cache.read(settings, environment) == (kernel,)
    assert kernel_cache.read(Kernels(modules=["r/*"]), environment) == ()
    assert kernel_cache.read(settings, {**environment, "MODULEPATH": "/other"}) == ()
    (path,) = Path(environment["HOME"]).rglob("*.json")
    path.write_text("[{}]")
    assert kernel_cache.read(settings, environment) == ()


def test_what_others_could_have_written_is_not_read(environment: dict[str, str]) -> None:
    settings = Kernels(programs=["r"])
    kernel_cache.keep([Kernel("program", "r", language="r")], settings, environment)
    (path,) = Path(environment["HOME"]).rglob("*.json")
    path.chmod(0o666)
    assert kernel_cache.read(settings, environment) == ()

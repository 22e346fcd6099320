"""What an environment brings for a session: programs for settings that are not set, and what is told about the rest."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ood_runtime.environment_changes import changes, reaches
from ood_runtime.environment_software import Provided, provide
from ood_runtime.plan import File, Plan
from ood_runtime.service import Service
from ood_runtime.settings import Settings
from tests.standins import conda

RELEASE = f"python3.{sys.version_info.minor}"
Environment = Callable[..., Path]


@pytest.fixture
def prefix(tmp_path: Path) -> Environment:
    """Makes the directory of an environment with a Python and these packages."""

    def make(*packages: str, at: Path = tmp_path / "an environment") -> Path:
        places = at / "bin", at / "lib" / RELEASE / "site-packages"
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        for name in (RELEASE, "python", "python3"):
            (places[0] / name).unlink(missing_ok=True)
        program(places[0] / RELEASE, "#!/bin/sh\nexit 1\n")
        (places[0] / "python").symlink_to(RELEASE)
        (places[0] / "python3").symlink_to(RELEASE)
        for package in packages:
            name, _, version = package.partition("-")
            info = places[1] / f"{package}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return at

    return make


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def find(settings: dict[str, Any], **job: str) -> Provided:
    return provide(Settings.model_validate(settings), {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **job})


def lab(at: Path) -> Path:
    return program(at / "bin" / "jupyter-lab", f"#!{at}/bin/python\n".replace(" ", "\\ "))


def test_nothing_is_asked_for() -> None:
    settings = Settings()
    job = {"PATH": "/x"}
    assert provide(settings, job) == Provided(settings, job)


def test_all_that_a_virtual_environment_has(prefix: Environment, tmp_path: Path) -> None:
    at = prefix("ipykernel-6.29", "jupyterlab-4.2.5", "jupyter_server-2.14", at=tmp_path / "environment")
    (at / "lib" / RELEASE / "site-packages/pyspark/jars").mkdir(parents=True)
    command = lab(at)
    found = find({"environment": {"venv": str(at)}})
    assert found.notices == ()
    assert found.settings.jupyter.command == str(command)
    assert found.settings.jupyter.python == str(at / "bin/python3")
    assert found.settings.spark.home == at / "lib" / RELEASE / "site-packages/pyspark"
    # What is set stays.
    own = {"jupyter": {"command": "mine", "python": "mine"}, "spark": {"home": "/mine"}}
    kept = find({"environment": {"venv": str(at)}, **own})
    assert (kept.settings.jupyter, kept.settings.spark) == (
        Settings.model_validate(own).jupyter, Settings.model_validate(own).spark,
    )  # fmt: skip
    of_a_module = find({"environment": {"venv": str(at), "shell": "export SPARK_HOME=/of/a/module"}})
    assert (of_a_module.settings.spark.home, of_a_module.environment["SPARK_HOME"]) == (None, "/of/a/module")


def test_a_python_without_ipykernel_and_an_old_jupyter_are_told(prefix: Environment, tmp_path: Path) -> None:
    at = prefix("jupyterlab-3.6", "jupyter_server-2.14", at=tmp_path / "environment")
    lab(at)
    found = find({"environment": {"venv": str(at)}})
    assert (found.settings.jupyter.command, found.settings.jupyter.python, found.settings.spark.home) == (None,) * 3
    old, without = found.notices
    assert "the Jupyter of the environment is not used" in old and "jupyterlab 3.6; 4 or newer is needed" in old
    assert f"{at}/bin/python3 -m pip install ipykernel" in without


def test_what_was_on_path_before_is_not_of_the_environment(prefix: Environment) -> None:
    """It may be anything of the user, such as a conda of old; unless the environment says that it is meant."""
    at = prefix("ipykernel-6.29")
    job = {"PATH": f"{at}/bin:/usr/bin:/bin"}
    assert find({"environment": {"shell": "export A=b"}}, **job).settings.jupyter.python is None
    assert find({"environment": {"venv": str(at)}}, **job).settings.jupyter.python == str(at / "bin/python3")


def test_modules_that_the_job_has_loaded_already_count(prefix: Environment, tmp_path: Path) -> None:
    at, mine = prefix("ipykernel-6.29"), prefix(at=tmp_path / "home" / "bin")
    module = {"BASH_FUNC_module%%": "() { :\n}", "LOADEDMODULES": "python/3.12"}
    path = f"{mine}/bin:{at}/bin:/usr/bin:/bin"
    found = find({"environment": {"modules": ["python"]}}, PATH=path, **module, HOME=str(tmp_path / "home"))
    assert found.settings.jupyter.python == str(at / "bin/python3")


def test_a_conda_environment_brings_its_python(prefix: Environment, tmp_path: Path) -> None:
    installed = conda.install(tmp_path / "conda")
    prefix("ipykernel-6.29", at=installed.environment("mine"))
    found = find({"environment": {"conda": "mine"}}, CONDA_EXE=str(installed.program))
    assert found.settings.jupyter.python == str(installed.root / "envs/mine/bin/python3")
    # Nothing that only happens to be active
    active = find({"environment": {"shell": ":"}}, CONDA_PREFIX=str(installed.root / "envs/mine"), **_path(installed))
    assert active.settings.jupyter.python is None


def _path(installed: conda.Conda) -> dict[str, str]:
    return {"PATH": os.pathsep.join([str(installed.root / "envs/mine/bin"), "/usr/bin:/bin"])}


def test_a_java_on_path_comes_before_the_jobs_java_home(tmp_path: Path) -> None:
    for version in ("8", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        program(tmp_path / version / "bin/java", "#!/bin/sh\n")
        (tmp_path / version / "release").write_text(f'JAVA_VERSION="{version}.0.1"\nMODULES="java.base"\n')
    job = {"JAVA_HOME": "/of/the/job"}
    of = {version: {"environment": {"shell": f"PATH={tmp_path}/{version}/bin:$PATH"}} for version in ("8", "17")}
    assert find(of["17"], **job).settings.spark.java_home == tmp_path / "17"
    assert find(of["17"]).settings.spark.java_home is None, "it is found on PATH"
    old = find(of["8"], **job)
    assert old.settings.spark.java_home is None
    assert "the Java of the environment is not used" in old.notices[0] and "too old" in old.notices[0]


def test_changes_are_told_without_secrets_and_bookkeeping() -> None:
    job = {"PATH": "/bin", "GONE": "1", "SAME": "2", "BASH_FUNC_old%%": "() { :\n}"}
    after = {"PATH": "/new:/bin", "SAME": "2", "API_TOKEN": "abc", "_ModuleTable001_": "x", "_LMFILES_": "y"}
    found = changes(job, after | {"BASH_FUNC_module%%": "() { :\n}", "BASH_FUNC_old%%": "() { :\n}"})
    assert found.set == {"PATH": "/new:/bin", "API_TOKEN": "********"}
    assert (found.unset, found.functions) == (("GONE",), ("module",))


def test_where_it_goes() -> None:
    names = ("jupyter", "spark-master", "spark-workers")
    services = tuple(Service(name, ("x",), 1, remote=name == "spark-workers") for name in names)
    plan = Plan(services=services, files=(File("spark/environment.sh", ""), File("spark/spark.conf", "")))
    assert reaches(plan) == (
        "jupyter: inherited",
        "spark-master: inherited",
        "kernels and terminals of Jupyter: inherited",
        "Spark workers and executors on other nodes: spark/environment.sh",
    )

"""A session in an environment of modules: every part has it, and a changed line reaches them all."""

import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, environment, launched, place
from tests.support.jupyter import JupyterClient, log_in
from tests.support.modules import Modules, need_modules
from tests.support.running import RunningSession

pytestmark = pytest.mark.integration

ODD = 'it\'s "odd" $HOME `id` \\ ü'
# What a Python sees: here that of the notebook, and those of executors.
LOOK = """import json, os, sys
def look(_):
    return sys.executable, dict(os.environ)
print(json.dumps([look(0), sc.parallelize(range(2), 2).map(look).collect()]))"""
SHELL = """import subprocess
print(subprocess.run(["bash", "-c", "module -t list 2>&1"], stdout=subprocess.PIPE, text=True).stdout)"""


@dataclass(frozen=True)
class Scene:
    """Two modules of Python, a third one with an odd name and value, and the settings that ask for some of them."""

    at: Place
    modules: Modules

    def settings(self, version: str) -> tuple[str, str]:
        """The options that load one version; one line differs."""
        path = self.at.root / f"settings-{version}.yml"
        path.write_text(json.dumps({"environment": {"modules": [f"python/{version}", "of the site/it's"]}}, indent=1))
        return "--config", str(path)

    def python(self, version: str) -> str:
        return str(self.at.root / "apps" / f"python {version}" / "bin" / "python3")


@pytest.fixture
def scene() -> Iterator[Scene]:
    """The modules' Pythons are of one release, and have the packages of this one: what differs is their places."""
    with place() as at:
        scene = Scene(at, need_modules("lmod", at.root / "modules"))
        for version in ("1", "2"):
            prefix = Path(scene.python(version)).parents[1]
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
            (packages,) = prefix.glob("lib/python*/site-packages")
            (packages / "ours.pth").write_text(sysconfig.get_path("purelib"))
            scene.modules.write(f"python/{version}", prefix / "bin", PYTHON_MODULE=version)
        scene.modules.write("of the site/it's", OF_THE_SITE=ODD)
        yield scene


def test_every_part_has_it(scene: Scene) -> None:
    env = scene.modules.environment
    with launched(scene.at, "jupyter-spark", *scene.settings("1"), env=env) as session:
        client = log_in(session.connection())
        kernel = client.start_kernel()
        (python, driver), executors = json.loads(client.run(kernel, LOOK))
        assert python == scene.python("1")
        assert (driver["PYTHON_MODULE"], driver["OF_THE_SITE"]) == ("1", ODD)
        assert driver["PATH"].startswith(f"{Path(python).parent}:")
        shared = {"PYTHON_MODULE", "OF_THE_SITE", "PATH", "LOADEDMODULES", "MODULEPATH", "BASH_ENV"}
        for there, variables in executors:
            assert there == python
            assert {name: variables[name] for name in shared} == {name: driver[name] for name in shared}
        for service in ("jupyter", "spark-master", "spark-worker"):
            variables = environment_of(session, service)
            assert {name: variables[name] for name in shared} == {name: driver[name] for name in shared}, service
        assert "python/1" in client.run(kernel, SHELL)
        plain = client.start_kernel("python3")
        assert client.run(plain, "import sys; print(sys.executable)").strip() == python
        assert (
            in_a_terminal(scene.at, client, 'echo "$PYTHON_MODULE $(type -P python3)"; module -t list')
            == f"1 {python}\npython/1\nof the site/it's"
        )
        client.close()


def test_a_changed_line_reaches_all_parts(scene: Scene) -> None:
    """As ``plan`` tells it, which starts nothing."""
    plans = [plan(scene, version) for version in ("1", "2")]
    for version, text in zip(("1", "2"), plans, strict=True):
        assert f"PYTHON_MODULE={version}" in text
        assert f"\npython={scene.python(version)!r}\n" in text  # of the PySpark kernel, and so of the executors
        assert json.dumps(scene.python(version)) in text  # of the kernel Python 3
        for line in ("jupyter: inherited", "spark-worker: inherited", "kernels and terminals of Jupyter: inherited"):
            assert f"\n{line}\n" in text
    first, second = plans
    assert not [text for text in ("python/2", "python 2/") if text in first]
    assert not [text for text in ("python/1", "python 1/") if text in second]


def test_what_is_not_there_is_told_before_anything_starts(scene: Scene) -> None:
    options = ("--set", "environment.modules=[pyhton/1, python/3]", "--set", "environment.venv=/no/where")
    with launched(scene.at, "jupyter-spark", *options, env=scene.modules.environment) as session:
        assert session.wait(20) == 3
        for words in (
            "no module pyhton/1",
            "did you mean python/1 or python/2?",
            "no module python/3",
            "/no/where is not",
        ):
            assert words in session.output()
        assert not session.directory.exists()


def plan(scene: Scene, version: str) -> str:
    command = [sys.executable, "-m", "ood_runtime", "plan", "jupyter-spark", *scene.settings(version)]
    done = subprocess.run(
        command, cwd=scene.at.root, env=environment(scene.at, scene.modules.environment), capture_output=True,
        check=False, **user_of_tests().identity(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(done.stdout.decode())


def environment_of(session: RunningSession, service: str) -> dict[str, str]:
    """The variables with which the process of a service was started, as the kernel knows them."""
    found = session.status()["services"]
    assert isinstance(found, list)
    (pid,) = [entry["pid"] for entry in found if entry["name"] == service]
    entries = os.fsdecode(Path(f"/proc/{pid}/environ").read_bytes()).split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def in_a_terminal(at: Place, client: JupyterClient, command: str) -> str:
    """What a command prints in a new terminal."""
    said = at.root / "said"
    terminal = client.type(f"{{ {command}; }} >'{said}.new' 2>&1; mv '{said}.new' '{said}'")
    deadline = time.monotonic() + 20
    while not said.exists():
        assert time.monotonic() < deadline, terminal.recv()
        time.sleep(0.05)
    terminal.close()
    return said.read_text().strip()

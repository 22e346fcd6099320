"""Kernels of a whole site: found in real modules, written where the real Jupyter finds them, started, and ended."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import StartSession
from tests.standins.conda import install
from tests.support import software
from tests.support.jupyter import Connection, JupyterClient
from tests.support.modules import ODD_NAMES, need_modules
from tests.support.needs import need, need_r_package

pytestmark = pytest.mark.integration

ODD_VENV = 'say "hi" & `go`'


@dataclass(frozen=True)
class Site:
    """What a user of a site has, and the settings that ask for kernels of all of it."""

    settings: Path
    environment: dict[str, str]

    def run(self, *arguments: str, status: int = 0) -> str:
        """What `ood-runtime kernels ARGUMENTS` prints."""
        program = [sys.executable, "-m", "ood_runtime", "kernels", *arguments]
        asks = [] if arguments[0] == "remove" else ["--config", str(self.settings)]
        done = subprocess.run([*program, *asks], env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def known(self) -> dict[str, dict[str, str]]:
        """The kernelspecs below the user's home, as Jupyter itself lists them."""
        done = subprocess.run(
            [need("jupyter"), "kernelspec", "list", "--json"],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        specs = json.loads(done.stdout)["kernelspecs"]
        home = self.environment["HOME"]
        return {name: entry["spec"] for name, entry in specs.items() if entry["resource_dir"].startswith(home)}


@pytest.fixture
def site(short_tmp: Path) -> Site:
    modules, programs = need_modules("lmod", short_tmp / "modules"), short_tmp / "programs"
    for name in ("python/3.11", ODD_NAMES[0]):
        modules.write(name, software.python_at(programs / name / "python3").parent)
    modules.write("python/bare", software.python_at(programs / "bare" / "python3", ipykernel=False).parent)
    modules.write_text("python/broken.lua", "LmodError('the licence is over')")
    modules.write("julia/1.10", software.julia_at(programs / "julia" / "julia").parent)
    modules.write("gcc/12", CC="gcc")
    conda = install(short_tmp / "conda")
    software.python_at(conda.environment("Ada's") / "bin" / "python3")
    software.venv(short_tmp / "venvs" / ODD_VENV)
    settings = short_tmp / "kernels.json"  # which YAML can read
    asks = {"modules": ["*"], "conda": ["A*"], "venvs": [f"{short_tmp}/venvs/*"], "programs": ["r"]}
    settings.write_text(json.dumps({"kernels": asks}))
    home = short_tmp / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        **modules.environment,
        "CONDA_EXE": str(conda.program),
        "OOD_RUNTIME_SITE_CONFIG": "/dev/null",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "LANG": "C.UTF-8",
    }
    return Site(settings, environment)


def test_a_site(site: Site) -> None:
    need_r_package("IRkernel")
    said = site.run("write", "--user")
    assert "the licence is over" in said
    assert "ipykernel is not installed" in said and "module load python/bare && " in said
    assert "gcc" not in said
    specs = site.known()
    assert {spec["display_name"].partition(" (")[2].removesuffix(")") for spec in specs.values()} == {
        "module python/3.11",
        f"module {ODD_NAMES[0]}",
        "module julia/1.10",
        "conda Ada's",
        f"venv {ODD_VENV}",
        "",
    }
    release = ".".join(map(str, sys.version_info[:3]))
    assert specs["python-module-python_3.11"]["display_name"] == f"Python {release} (module python/3.11)"
    checked = site.run("check", "--user")
    assert checked.count("\u2713") == len(specs), checked
    assert site.run("remove", "--all", "--user").count("\n-") + 1 == len(specs)
    assert not list(Path(site.environment["HOME"]).rglob("kernel.json"))


def test_a_session(
    start_session: StartSession, log_in_to: Callable[[Connection], JupyterClient], short_tmp: Path
) -> None:
    """Jupyter offers a module's kernel soon after the session is ready; of one that dies the reason can be read."""
    modules = need_modules("environment-modules", short_tmp / "modules")
    python = software.python_at(short_tmp / "python" / "python3")
    modules.write("odd name/1.0", python.parent, LOADED="it's loaded")
    patient = short_tmp / "patient.py"
    patient.write_text("c.KernelRestarter.time_to_dead = 0.1\n")  # seconds between the starts of a kernel that dies
    asks = ("--set", 'kernels.modules=["*"]', "--set", f"jupyter.config={patient}")
    session = start_session("jupyter", *asks, env=modules.environment)
    client = log_in_to(session.connection())

    def offered() -> str | None:
        specs = client.request("GET", "api/kernelspecs").json()["kernelspecs"]
        return next((name for name in specs if name.startswith("python-module-")), None)

    name = session.wait_for(offered, "kernel of the module", 30)
    code = "import os; print(os.environ['LOADED'], os.environ['OOD_RUNTIME_SESSION_DIR'])"
    assert client.run(client.start_kernel(name), code).strip() == f"it's loaded {session.directory}"
    assert status_of(session.directory).count("has failed") == 0

    python.write_text("#!/bin/sh\necho the licence is over >&2\nexit 7\n")
    client.start_kernel(name)
    deadline = time.monotonic() + 30
    while "has failed" not in (said := status_of(session.directory)):
        assert time.monotonic() < deadline, said
    assert "the licence is over" in said
    assert f"log: {session.directory}/logs/kernel-{name}.log" in said


def status_of(directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ood_runtime", "status", "--session-dir", str(directory)],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout

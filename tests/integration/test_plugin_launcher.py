"""A scheduler is added by one file, also in a package of somebody else that is installed beside ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "tests" / "plugin_launcher"
ASK = """\
import sys
from pathlib import Path
from ood_runtime import launchers
from ood_runtime.allocation import Task
from ood_runtime.settings import Settings
environment = {"FLUX_JOB_ID": "f12", "FLUX_HOSTS": "n[1-3]"}
launcher = launchers.choose(None, environment)
allocation = launcher.allocation(environment, Path.cwd(), Settings())
print(launcher.name, allocation.job_id, *(node.host for node in allocation.nodes))
print(*launcher.commands(allocation, Path("/w.sh"), [Task(4, 2)], environment)[0].argv)
"""


def test_a_launcher_of_another_package(tmp_path: Path) -> None:
    source, place = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for file in PACKAGE.glob("*.*"):
        (source / file.name).write_bytes(file.read_bytes())
    # Ours is not installed for pip; it need not be for the entry point to be found.
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*install, "--target", place, source], env=environment, check=True)
    environment["PYTHONPATH"] = f"{REPOSITORY}{os.pathsep}{place}"
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["flux f12 n1 n2 n3", "flux exec -r 2 /bin/sh /w.sh 4"]

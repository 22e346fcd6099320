"""What is installed is whole: no template or kernelspec is left out of the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(target),
        str(REPOSITORY),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (made,) = target.glob("ood_runtime-*.whl")
    return made


def test_every_file_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "ood_runtime").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    specs = {f"ood_runtime/{p.relative_to(REPOSITORY)}" for p in (REPOSITORY / "kernelspecs").rglob("*") if p.is_file()}
    assert len(package) > 50
    assert len(specs) >= 4
    assert package | specs <= packed
    assert {name.split("/")[0].split("-")[0] for name in packed} == {"ood_runtime"}, "and nothing else"


def test_the_wheel_plans_a_session_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-m", "ood_runtime", "plan", "jupyter-spark", "--session-dir", str(tmp_path / "session")],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "jupyter/kernels/pyspark/kernel.json" in done.stdout

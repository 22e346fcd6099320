"""Names of kernelspecs, and what is in them."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import kernelspecs
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings.environment import Environment

# What Jupyter takes for the name of a kernel (jupyter_client.kernelspec), in small letters.
NAME = re.compile(r"[a-z0-9._\-]+")
STATIC = ("julia", "pyspark", "python", "python-mpi", "r", "sparkr")
KERNELS = st.builds(
    Kernel,
    source=st.sampled_from(["module", "conda", "venv", "environment"]),
    name=st.one_of(st.text(min_size=1), st.from_regex(r"[a-zA-Z\-_/. ]{1,6}", fullmatch=True)),
    environment=st.just(Environment()),
    language=st.sampled_from(["python", "r", "julia"]),
)


def module(name: str) -> Kernel:
    return Kernel("module", name, Environment(modules=["m"]), "python", "python3", "3.12.1")


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("python/3.12.1", "python-module-python_3.12.1"),
        ("python-3.12.1", "python-module-python-3.12.1"),
        ("Python/3.12.1", "python-module-python_3.12.1-528eddbb"),
        ("python_3.12.1", "python-module-python_3.12.1-fe4b6750"),
    ],
)
def test_names_that_notebooks_remember(name: str, directory: str) -> None:
    """They must stay as they are: notebooks that were saved would look for another kernel."""
    assert module(name).directory == directory


@given(KERNELS, KERNELS)
def test_every_name_is_one_for_jupyter_and_no_other_has_it(one: Kernel, other: Kernel) -> None:
    assert NAME.fullmatch(one.directory)
    assert len(one.directory) < 128
    same = (one.source, one.name, one.language) == (other.source, other.name, other.language)
    assert (one.directory == other.directory) == same


@given(KERNELS)
def test_what_is_in_a_spec(kernel: Kernel) -> None:
    written = kernelspecs.files(kernel)
    spec = json.loads(written["kernel.json"])
    assert spec["argv"] == ["/bin/bash", "{resource_dir}/kernel.sh", "{connection_file}"]
    assert spec["display_name"].isprintable()
    assert kernelspecs.is_ours(spec)
    assert {"logo-32x32.png", "logo-64x64.png", "logo-svg.svg"} < set(written)


def test_the_title_has_the_version() -> None:
    assert module("python/3.12.1").title == "Python 3.12.1 (module python/3.12.1)"
    assert Kernel("venv", "/home/ada/geo\n1", language="r", version="4.3").title == "R 4.3 (venv geo?1)"
    assert Kernel("environment", "Chemistry", language="julia", version="1.10").title == "Julia 1.10 (Chemistry)"
    assert Kernel("program", "r", language="r", version="4.2.2").title == "R 4.2.2"


@pytest.mark.parametrize("name", STATIC)
def test_what_comes_with_the_package(name: str) -> None:
    spec = json.loads(kernelspecs.packaged(name)["kernel.json"])
    assert {"argv", "display_name", "language"} <= set(spec)
    assert not kernelspecs.is_ours(spec)
    assert any("{connection_file}" in word for word in spec["argv"])


@pytest.mark.parametrize(
    ("shell", "status", "said"),
    [
        ("echo broken >&2; false", 3, ["broken", "ood-runtime: the last line of environment.shell has failed"]),
        ("PATH=/nowhere", 127, ["there is no python3 in this environment any more"]),
        ('PATH="$PWD:$PATH"', 126, ["/python3: "]),
    ],
)
def test_the_script_says_why_it_cannot_start(tmp_path: Path, shell: str, status: int, said: list[str]) -> None:
    """In the session's own log, in lines that the status command understands."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "python3").write_text("#!/no/interpreter\n")
    (tmp_path / "python3").chmod(0o755)
    kernel = Kernel("environment", "it's gone", Environment(shell=shell), "python", "python3", "3.12")
    script = tmp_path / "kernel.sh"
    script.write_bytes(kernelspecs.files(kernel)["kernel.sh"])
    done = subprocess.run(
        ["/bin/bash", script, "/x/kernel-1.json"], capture_output=True, check=False, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "OOD_RUNTIME_SESSION_DIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (status, b"", b"")
    log = tmp_path / "logs" / f"kernel-{kernel.directory}.log"
    assert log.stat().st_mode & 0o777 == 0o600
    first, *lines, last = log.read_text().splitlines()
    assert first == "kernel kernel-1.json: starting Python 3.12 (it's gone)"
    assert len(lines) >= len(said) and all(wanted in line for wanted, line in zip(said, lines, strict=False)), lines
    assert last == "kernel kernel-1.json: failed: it was not started"

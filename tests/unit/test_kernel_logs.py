"""Which kernels have failed, as their logs and Jupyter's tell."""

import os
from pathlib import Path

import pytest

from ood_runtime import kernel_logs

FIRST, SECOND = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def started(kernel: str, *said: str) -> str:
    return "".join(f"{line}\n" for line in (f"kernel kernel-{kernel}.json: starting Python 3", *said))


def test_what_was_not_started(logs: Path) -> None:
    said = started(FIRST, "ood-runtime: module load x has failed", f"kernel kernel-{FIRST}.json: failed: not started")
    (logs / "kernel-x.log").write_text(said)
    (found,) = kernel_logs.failed(logs.parent)
    assert (found.name, found.title, found.log) == ("x", "Python 3", str(logs / "kernel-x.log"))
    assert found.said == ("ood-runtime: module load x has failed",)


def test_what_jupyter_has_given_up(logs: Path) -> None:
    (logs / "kernel-x.log").write_text(started(FIRST, "old") + started(SECOND, "No module named ipykernel"))
    assert not kernel_logs.failed(logs.parent)
    (logs / "jupyter.log").write_text(f"[W] Kernel {FIRST} died, removing from map.\n")
    assert not kernel_logs.failed(logs.parent), "another one has been started since"
    (logs / "jupyter.log").write_text(f"[W] Kernel {SECOND} died, removing from map.\n")
    (found,) = kernel_logs.failed(logs.parent)
    assert found.said == ("No module named ipykernel",)


def test_what_an_earlier_session_has_said(logs: Path) -> None:
    path = logs / "kernel-x.log"
    path.write_text(started(FIRST, f"kernel kernel-{FIRST}.json: failed: not started"))
    os.utime(path, (1000, 1000))
    assert kernel_logs.failed(logs.parent, since=1000.0)
    assert not kernel_logs.failed(logs.parent, since=1001.0)

"""Kernelspecs are written where Jupyter finds them, twice the same, and never over another's."""

import json
import os
from pathlib import Path

import pytest

from ood_runtime import kernel_folders
from ood_runtime.errors import SessionError
from ood_runtime.kernel_folders import Folder
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings.environment import Environment

PYTHON = Kernel("module", "python/3", Environment(modules=["python/3"]), "python", "python3", "3.12.1")
R = Kernel("module", "r/4", Environment(modules=["r/4"]), "r", "R", "4.3.1")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "share" / "kernels")


def states(folder: Folder, *kernels: Kernel, force: bool = False) -> list[tuple[str, str]]:
    return [(entry.name, entry.state) for entry in kernel_folders.write(folder, kernels, force=force)]


def test_written_once_and_then_left_alone(folder: Folder) -> None:
    assert states(folder, PYTHON, R) == [(PYTHON.directory, "written"), (R.directory, "written")]
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    assert states(folder, PYTHON, R) == [(PYTHON.directory, "unchanged"), (R.directory, "unchanged")]
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before
    (folder.path / R.directory / "kernel.sh").write_text("broken")
    assert states(folder, PYTHON) == [(PYTHON.directory, "unchanged"), (R.directory, "gone")]
    assert states(folder, R) == [(R.directory, "written"), (PYTHON.directory, "gone")]
    assert kernel_folders.ours(folder) == {PYTHON.directory: PYTHON.title, R.directory: R.title}


@pytest.mark.parametrize(("shared", "modes"), [(True, {0o755, 0o644}), (False, {0o700, 0o600})])
def test_who_may_read_them(tmp_path: Path, shared: bool, modes: set[int]) -> None:
    folder = Folder(tmp_path / "new" / "kernels", shared)
    umask = os.umask(0o027)
    try:
        states(folder, PYTHON)
    finally:
        os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").rglob("*")} == modes


@pytest.mark.parametrize("kind", ["spec", "directory", "file", "link", "broken"])
def test_another_s_is_left_alone(folder: Folder, tmp_path: Path, kind: str) -> None:
    path = folder.path / PYTHON.directory
    folder.path.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "kernel.json").write_text(json.dumps({"argv": [], "metadata": {"ood_runtime": {}}}))
    if kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(other)
    else:
        path.mkdir()
        if kind != "directory":
            (path / "kernel.json").write_text('{"metadata": []}' if kind == "spec" else "{")
    assert states(folder, PYTHON) == [(PYTHON.directory, "foreign")]
    assert [entry.state for entry in kernel_folders.remove(folder, [PYTHON.directory])] == ["foreign"]
    assert path.exists()
    assert states(folder, PYTHON, force=True) == [(PYTHON.directory, "written")]
    assert not path.is_symlink()
    assert (other / "kernel.json").exists()


def test_only_ours_are_removed(folder: Folder) -> None:
    states(folder, PYTHON, R)
    names = [R.directory, "never", "..", "../kernels"]
    removed = [(entry.name, entry.state) for entry in kernel_folders.remove(folder, names)]
    assert removed[:3] == [(R.directory, "removed"), ("never", "gone"), ("..", "gone")]
    assert list(kernel_folders.ours(folder)) == [PYTHON.directory]
    assert not (folder.path / R.directory).exists()


def test_a_place_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "share").write_text("a file")
    with pytest.raises(SessionError, match="cannot write kernelspecs to"):
        kernel_folders.write(kernel_folders.of_prefix(tmp_path), [PYTHON])


def test_where_jupyter_looks(tmp_path: Path) -> None:
    home = {"HOME": "/home/ada"}
    assert kernel_folders.of_user(home).path == Path("/home/ada/.local/share/jupyter/kernels")
    assert kernel_folders.of_user({**home, "XDG_DATA_HOME": "/d"}).path == Path("/d/jupyter/kernels")
    assert kernel_folders.of_user({**home, "JUPYTER_DATA_DIR": "/j"}).path == Path("/j/kernels")
    assert kernel_folders.of_prefix(Path("/opt")) == Folder(Path("/opt/share/jupyter/kernels"), shared=True)
    with pytest.raises(SessionError, match="no session"):
        kernel_folders.of_session(tmp_path)

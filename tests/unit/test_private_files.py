"""Files that are written whole or not at all, and directories in which nobody else can plant any."""

import grp
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import private_files
from ood_runtime.private_files import write


@pytest.fixture
def replacing(tmp_path: Path) -> Iterator[Path]:
    """A file that another process replaces all the time, once with 1 kB of a, once with 3 kB of b."""
    path = tmp_path / "status.json"
    path.write_text("a" * 1000)
    program = (
        "import pathlib, sys\nfrom ood_runtime.private_files import write\npath = pathlib.Path(sys.argv[1])\n"
        "while True: write(path, 'b' * 3000); write(path, 'a' * 1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[2]) as writing:
        yield path
        writing.kill()


def test_a_reader_never_sees_half_a_file(replacing: Path) -> None:
    seen = {b"a" * 1000: 0, b"b" * 3000: 0}
    deadline = time.monotonic() + 20
    reads = 0
    while reads < 100_000 or not all(seen.values()):
        descriptor = os.open(replacing, os.O_RDONLY)
        seen[os.read(descriptor, 4096)] += 1
        os.close(descriptor)
        reads += 1
        assert time.monotonic() < deadline or reads >= 100_000, "too slow to tell"
    assert set(seen) == {b"a" * 1000, b"b" * 3000}


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write(path, "old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space"):
        write(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_bytes_text_and_names_that_are_no_utf8(tmp_path: Path) -> None:
    write(tmp_path / "a", b"\xff")
    write(tmp_path / "b", "ü\udcff", durable=True)
    assert (tmp_path / "a").read_bytes() == b"\xff"
    assert (tmp_path / "b").read_bytes() == b"\xc3\xbc\xff"


def test_a_group_is_private_when_nobody_else_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.struct_passwd(("ada", "x", os.getuid(), 77, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user)

    def private(gid: int, name: str, members: list[str]) -> bool:
        monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((name, "x", gid, members)))
        return private_files._private_group(gid)

    assert private(77, "ada", [])
    assert private(77, "ada", ["ada"])
    assert not private(77, "ada", ["mallory"])
    assert not private(77, "users", [])
    assert not private(78, "ada", [])

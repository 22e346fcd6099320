"""The gate at which a program waits in the middle of its start."""

import os
import subprocess
from pathlib import Path

import pytest

from ood_runtime.errors import SessionError
from ood_runtime.gate import open_wide, tell
from tests.unit.calls import WaitUntil


def test_who_waits_goes_on_and_reads_nothing(tmp_path: Path, wait_until: WaitUntil) -> None:
    gate = tmp_path / "a gate"
    os.mkfifo(gate, 0o600)
    with subprocess.Popen(["/bin/cat", str(gate)], stdout=subprocess.PIPE) as waiting:
        wait_until(lambda: open_wide(gate), 5)
        assert waiting.communicate(timeout=5)[0] == b""
    assert gate.is_file(), "who comes again finds an empty file"
    assert gate.read_bytes() == b""


def test_nobody_has_come_yet(tmp_path: Path) -> None:
    assert not open_wide(tmp_path / "none")
    os.mkfifo(tmp_path / "gate")
    assert not open_wide(tmp_path / "gate")
    assert (tmp_path / "gate").is_fifo()


def test_a_link_is_no_gate(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("kept")
    (tmp_path / "gate").symlink_to(tmp_path / "target")
    assert not open_wide(tmp_path / "gate")
    assert (tmp_path / "target").read_text() == "kept"


def test_who_is_on_another_node_reads_a_file_that_stays_the_same(tmp_path: Path) -> None:
    path, read = tmp_path / "ready", ["sh", "-c", 'read -r _ <"$0"', str(tmp_path / "ready")]
    tell(path, ready=False, needed=True)
    first = path.stat()
    assert (first.st_mode & 0o777, subprocess.run(read, check=False).returncode) == (0o600, 1)
    tell(path, ready=True, needed=True)
    assert path.stat().st_ino == first.st_ino
    assert subprocess.run(read, check=False).returncode == 0
    tell(path, ready=False, needed=True)
    assert subprocess.run(read, check=False).returncode == 1


def test_where_nothing_can_be_told(tmp_path: Path) -> None:
    tell(tmp_path / "none" / "ready", ready=True, needed=False)
    with pytest.raises(SessionError, match="other nodes") as caught:
        tell(tmp_path / "none" / "ready", ready=True, needed=True)
    assert "quota" in caught.value.remedy
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(SessionError):
        tell(tmp_path / "link", ready=True, needed=True)
    assert not (tmp_path / "target").exists()

"""The gate at which a program waits in the middle of its start."""

import os
import subprocess
from pathlib import Path

from ood_runtime.gate import open_wide
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

"""What workers on other nodes leave word of."""

from pathlib import Path

import pytest

from ood_runtime import spark_trouble
from ood_runtime.spark_trouble import Trouble


def test_what_workers_leave(tmp_path: Path) -> None:
    (tmp_path / "3").write_text("node2\nrestarting\nSpark ended with exit status 1: Error: x\ny\n")
    (tmp_path / "12").write_text("node5\nfailed\n/opt/java is not on this node\n")
    assert spark_trouble.read(tmp_path) == {
        3: Trouble(
            False,
            "worker 3 on node2 is started again: Spark ended with exit status 1: Error: x\ny (logs/spark-worker-3.log)",
        ),
        12: Trouble(True, "worker 12 on node5 failed: /opt/java is not on this node (logs/spark-worker-12.log)"),
    }


@pytest.mark.parametrize("name", ["4.new", ".nfs00012", "x", "-1"])
def test_what_is_no_record(tmp_path: Path, name: str) -> None:
    """A record that is being written, what NFS keeps of one that was removed, and what is none."""
    (tmp_path / name).write_text("node2\nfailed\nreason\n")
    assert spark_trouble.read(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"node2\nfail", b"\xff\xfe"])
def test_a_record_that_is_cut_says_nothing_and_harms_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1").write_bytes(content)
    (tmp_path / "2").write_bytes(b"node2\nfailed\n\xff reason\n")
    assert list(spark_trouble.read(tmp_path)) == [2]


def test_no_directory_and_a_directory_in_the_place_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert spark_trouble.read(tmp_path) == {}
    assert spark_trouble.read(tmp_path / "none") == {}

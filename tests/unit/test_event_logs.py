"""The room that event logs take while their session lives, and whether they can be written."""

import os
from pathlib import Path

import pytest

from ood_runtime.event_logs import EventLogs, make_room

MB = 1000 * 1000
REMOVED = "event logs of applications that are over were removed, to keep to spark.event_logs.limit"
EMPTIED = "of a long event log the middle was emptied, to keep to spark.event_logs.limit"


def application(directory: Path, name: str, *sizes: int, running: bool = False, age: int = 0) -> Path:
    """What Spark writes for an application: files of these sizes in MB, the first one the oldest."""
    log = directory / f"eventlog_v2_{name}"
    log.mkdir()
    (log / f"appstatus_{name}{'.inprogress' * running}").touch()
    for number, size in enumerate(sizes, 1):
        os.truncate(os.open(log / f"events_{number}_{name}.zstd", os.O_CREAT | os.O_WRONLY), size * MB)
    os.utime(log, (1_000_000 - age, 1_000_000 - age))
    return log


def sizes(log: Path) -> list[int]:
    numbered = sorted(log.glob("events_*"), key=lambda path: int(path.name.split("_")[1]))
    return [path.stat().st_size // MB for path in numbered]


def test_what_fits_stays(tmp_path: Path) -> None:
    application(tmp_path, "app-1", 10, 10)
    (tmp_path / "notes").write_text("somebody's")
    (tmp_path / "eventlog_v2_file").write_text("no directory")
    assert make_room(tmp_path, 20 * MB) == []


def test_the_oldest_that_is_over_goes_first(tmp_path: Path) -> None:
    new, old = application(tmp_path, "app-1", 10), application(tmp_path, "app-2", 10, age=100)
    runs = application(tmp_path, "app-3", 10, 10, 10, running=True, age=500)
    assert make_room(tmp_path, 45 * MB) == [REMOVED]
    assert (new.exists(), old.exists(), sizes(runs)) == (True, False, [10, 10, 10])


def test_of_one_that_runs_the_middle_is_emptied(tmp_path: Path) -> None:
    runs = application(tmp_path, "app-1", *[10] * 12, running=True)
    over = application(tmp_path, "app-2", 10)
    assert make_room(tmp_path, 40 * MB) == [REMOVED, EMPTIED]
    assert not over.exists()
    assert sizes(runs) == [10, *[0] * 8, 10, 10, 10], "in the order of numbers, not of names"
    assert make_room(tmp_path, 40 * MB) == []


def test_it_is_told_and_is_never_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application(tmp_path, "app-1", 100)
    answer = EventLogs(tmp_path, 50 * MB)(())
    assert (answer.ready, answer.notices) == (True, (REMOVED,))
    assert EventLogs(tmp_path, 50 * MB)(()).notices == ()
    assert list(tmp_path.iterdir()) == []
    gone = tmp_path / "gone"
    answer = EventLogs(gone, 1)(())
    assert answer.ready
    assert answer.notices == (f"no event logs can be written into {gone}: No such file or directory",)

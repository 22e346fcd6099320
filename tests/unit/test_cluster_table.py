"""A cluster in the table of `ood-runtime status`: on terminals of any width, with names that somebody else chose."""

from typing import Any

import click
import pytest

from ood_runtime.cli import cluster_table
from ood_runtime.cli.cluster_table import columns

GIB = 1 << 30
WIDE = 1000


def worker(rank: int | None, host: str, **changes: Any) -> dict[str, Any]:
    used = {"cores_used": 3, "memory_used": GIB, "gpus_used": 0, "executors": 1}
    return {"rank": rank, "host": host, "alive": True, "cores": 4, "memory": 2 * GIB, "gpus": 0, **used, **changes}


def application(name: str, state: str = "RUNNING") -> dict[str, Any]:
    return {"id": "app-20261126024512-0000", "name": name, "state": state, "cores": 12, "started_at": 0.0}


def state(*workers: dict[str, Any], applications: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"ended_at": None, "workers": {"each": list(workers)}, "applications": list(applications)}


def lines(of: dict[str, Any], width: int = WIDE) -> list[str]:
    return [click.unstyle(line) for line in cluster_table.lines(of, 75.0, width)]


def test_what_is_used_of_each_worker_and_by_whom() -> None:
    shown = lines(state(worker(0, "n0"), worker(None, "n1", executors=None), applications=(application("notebook"),)))
    assert [line.split() for line in shown] == [
        [],
        ["WORKER", "NODE", "STATE", "CORES", "MEMORY", "GiB", "EXECUTORS"],
        ["0", "n0", "alive", "3/4", "1.0/2.0", "1"],
        ["n1", "alive", "3/4", "1.0/2.0", "?"],
        [],
        ["APPLICATION", "NAME", "STATE", "CORES", "SINCE"],
        ["app-20261126024512-0000", "notebook", "running", "12", "1", "min", "15", "s"],
    ]


def test_cores_in_use_are_those_of_workers_that_live() -> None:
    assert cluster_table.in_use(state(worker(0, "a"), worker(1, "b"), worker(2, "c", alive=False))) == (
        "6 of 8 cores in use"
    )


def test_gpus_are_a_column_where_there_are_any() -> None:
    shown = lines(state(worker(0, "n0", gpus=2, gpus_used=1), worker(1, "n1")))
    assert shown[1].split()[-2:] == ["GPUS", "EXECUTORS"]
    assert [line.split()[-2] for line in shown[2:]] == ["1/2", "0/0"]


def test_lost_workers_come_first_and_not_a_thousand_lines() -> None:
    shown = lines(state(*(worker(rank, f"n{rank}", alive=rank != 70) for rank in range(99))))
    assert shown[2].split()[:3] == ["70", "n70", "lost"]
    assert shown[3].split()[:3] == ["0", "n0", "alive"]
    assert shown[22] == "and 79 more: --json has all"


def test_a_session_without_a_cluster_or_with_one_no_more() -> None:
    assert lines({"ended_at": None, "workers": None, "applications": []}) == []
    assert lines({"ended_at": None, "workers": None}) == [], "a session of an older release"
    assert lines({**state(worker(0, "n0")), "ended_at": 5.0}) == []
    older = {"rank": 0, "host": "n0", "alive": True, "cores": 4, "memory": GIB}
    assert cluster_table.in_use(state(older)) == "0 of 4 cores in use"
    assert cluster_table.in_use({"workers": None}) == cluster_table.in_use({"workers": {"ready": 0}}) == ""
    assert lines(state(older))[2].split() == ["0", "n0", "alive", "0/4", "0.0/1.0", "?"]


ODD = ["a" * 300, "\x1b[31mred\x07\r\nnext", "数据分析" * 40, "é" * 100, "", "e\u0301" * 100, "\u202egnp.exe"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("width", [72, 80, 120])
def test_odd_names_fit_and_tell_the_terminal_nothing(name: str, width: int) -> None:
    shown = lines(state(worker(0, name), applications=(application(name),)), width)
    assert all(columns(line) <= width for line in shown)
    assert all(char.isprintable() for line in shown for char in line)
    assert ("…" in shown[2]) == (columns(cluster_table.plain(name)) > 40)
    heads, cells = shown[1], shown[2]
    assert columns(cells[: cells.index("alive")]) == heads.index("STATE"), "columns hold"


def test_a_terminal_that_is_too_narrow_keeps_the_beginning_of_names() -> None:
    shown = lines(state(worker(12, "node-0012.cluster.example.org")), 20)
    assert shown[2].split()[:2] == ["12", "node-00…"]

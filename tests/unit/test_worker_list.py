"""Workers as the master tells them, and as people know them."""

import time
from typing import Any

import click
import pytest

from ood_runtime import worker_list
from ood_runtime.cli.status import table

GIB = 1 << 30


def told(
    rank: int | None, host: str, address: str, state: str = "ALIVE", stamp: str = "20261122101500"
) -> dict[str, Any]:
    """A worker in the answer of /json/, as Spark 4 gives it, or without a rank as Spark 3.5 does."""
    name = "worker-" if rank is None else f"worker-{rank}-{host}-"
    worker = {"id": f"{name}{stamp}-{address}-40001", "host": address, "port": 40001, "state": state}
    return {**worker, "cores": 4, "memory": 2048}


def test_ranks_and_nodes_come_from_the_identifier() -> None:
    assert str(worker_list.id_property(3, "node-1.a.b")) == "{'spark.worker.idPattern': 'worker-3-node-1.a.b-%s-%s-%d'}"
    one, two = worker_list.each([told(1, "node-02.a", "10.0.0.2"), told(0, "node-01.a", "10.0.0.1")])
    assert one == {
        "rank": 0,
        "host": "node-01.a",
        "address": "10.0.0.1",
        "cores": 4,
        "memory": 2 * GIB,
        "alive": True,
    }
    assert (two["rank"], two["host"]) == (1, "node-02.a")


def test_a_worker_that_came_back_is_there_once() -> None:
    dead, alive = told(1, "n2", "10.0.0.2", "DEAD"), told(1, "n2", "10.0.0.2", stamp="20261122101600")
    for answer in ([dead, alive], [alive, dead]):
        assert [worker["alive"] for worker in worker_list.each(answer)] == [True]
        assert worker_list.lost(worker_list.each(answer)) == []


def test_before_spark_4_the_address_has_to_do() -> None:
    dead, alive = told(None, "", "10.0.0.2", "DEAD"), told(None, "", "10.0.0.2", stamp="20261122101600")
    gone = told(None, "", "10.0.0.3", "DEAD")
    each = worker_list.each([dead, alive, gone])
    assert [(worker["rank"], worker["host"], worker["alive"]) for worker in each] == [
        (None, "10.0.0.2", True),
        (None, "10.0.0.3", False),
    ]
    assert worker_list.lost(each) == ["lost 10.0.0.3"]


def test_many_lost_nodes_are_counted() -> None:
    each = worker_list.each([told(rank, f"n{rank}", f"10.0.0.{rank}", "DEAD") for rank in range(9)])
    assert worker_list.lost(each) == ["lost n0, n1, n2, n3, n4, and 4 more"]


def test_the_table_shows_lost_workers_first_and_not_a_thousand() -> None:
    each = worker_list.each(
        [told(rank, f"n{rank}", "10.0.0.1", "DEAD" if rank == 70 else "ALIVE") for rank in range(99)]
    )
    state = {"app": "jupyter-spark", "host": "n0", "state": "ready", "message": "", "services": [], "started_at": 0}
    state |= {"ended_at": None, "ends_at": None, "workers": {"ready": 98, "wanted": 99, "each": list(each)}}
    lines = click.unstyle(table(state, 1.0)).splitlines()
    (first,) = [index for index, line in enumerate(lines) if "NODE" in line]
    assert lines[first + 1].split() == ["70", "n70", "lost", "4", "2.0", "GiB"]
    assert lines[first + 2].split() == ["0", "n0", "alive", "4", "2.0", "GiB"]
    assert lines[first + 21] == "and 79 more: --json has all"


def test_a_node_is_missed_after_a_while_and_not_when_its_worker_said_why() -> None:
    now = 1_000_000.0
    heard = {0: now, 1: now - 10, 2: now - 100, 3: now - 100}
    workers = [
        {**told(rank, f"n{rank}", f"10.0.0.{rank}", "ALIVE" if rank == 0 else "DEAD"), "lastheartbeat": last * 1000}
        for rank, last in heard.items()
    ]
    each = worker_list.each(workers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now)
        assert worker_list.missed(workers, each, {3}) == ["n2 is lost; the session goes on with the other nodes"]

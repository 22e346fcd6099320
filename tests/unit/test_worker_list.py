"""Workers as the master tells them, and as people know them."""

import time
from typing import Any

import pytest

from ood_runtime import worker_list

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
        "alive": True,
        "cores": 4,
        "memory": 2 * GIB,
        "gpus": 0,
        "cores_used": 0,
        "memory_used": 0,
        "gpus_used": 0,
        "executors": 0,
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


def busy(memory: int, cores: int = 3, state: str = "ALIVE") -> dict[str, Any]:
    gpus = {"gpu": {"name": "gpu", "addresses": ["0", "1"]}}
    used = {"gpu": {"name": "gpu", "addresses": ["0"]}}
    worker = told(0, "n0", "10.0.0.1", state)
    return {**worker, "coresused": cores, "memoryused": memory, "resources": gpus, "resourcesused": used}


def app(executor: int, cores: int = 1) -> dict[str, Any]:
    told = {"id": "app-1", "starttime": 1_700_000_000_000, "name": "x", "cores": cores, "user": "ada"}
    return {**told, "memoryperexecutor": executor, "state": "RUNNING", "duration": 5}


@pytest.mark.parametrize(
    ("memory", "applications", "executors"),
    [
        (1024, [app(512)], 2),
        (1024, [app(512), app(512)], 2),
        (0, [app(512), app(1024)], 0),
        (1024, [app(512), app(1024)], None),  # two small ones, or a large one
        (1024, [app(512), app(1024, cores=0)], 2),  # what waits for cores has no executor
        (1000, [app(512)], None),  # a resource profile of the application's own
        (1024, [], None),
    ],
)
def test_executors_are_counted_from_what_they_take(
    memory: int, applications: list[dict[str, Any]], executors: int | None
) -> None:
    (worker,) = worker_list.each([busy(memory)], applications)
    assert (worker["executors"], worker["cores_used"], worker["memory_used"]) == (executors, 3, memory << 20)
    assert (worker["gpus"], worker["gpus_used"]) == (2, 1)


def test_nothing_is_used_of_a_lost_worker() -> None:
    (worker,) = worker_list.each([busy(1024, state="DEAD")], [app(512)])
    assert [worker[key] for key in ("cores_used", "memory_used", "gpus_used", "executors")] == [0, 0, 0, 0]


def test_an_application_says_what_it_holds() -> None:
    (one,) = worker_list.applications([app(512, cores=4)])
    assert one == {
        "id": "app-1",
        "name": "x",
        "state": "RUNNING",
        "cores": 4,
        "executor_memory": GIB // 2,
        "started_at": 1_700_000_000,
    }


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

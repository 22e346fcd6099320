"""A cluster's workers one by one, and its applications, as the master tells them at /json/, in words that people know.

The answer is the same in Spark 3.5 and 4 (org.apache.spark.deploy.JsonProtocol). Of executors it has none: they are
counted from what they take.
"""

import re
import time
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

MIB = 1 << 20
_SHOWN = 5
# Seconds without a word after which a node is missed; a worker says something every 15, and one that crashed is back.
_PATIENCE = 30.0

# A worker's identifier tells its rank and node, its address does not (spark.worker.idPattern, since Spark 4.0).
_ID = re.compile(r"worker-(?P<rank>\d+)-(?P<host>.+)-\d{14}-")


def id_property(rank: object, host: str) -> dict[str, object]:
    """The property that puts ``rank`` and ``host`` into a worker's identifier."""
    return {"spark.worker.idPattern": f"worker-{rank}-{host}-%s-%s-%d"}


def each(
    workers: Iterable[Mapping[str, Any]], applications: Iterable[Mapping[str, Any]] = ()
) -> tuple[dict[str, Any], ...]:
    """One entry for each of ``workers`` in the master's answer: rank (None before Spark 4), host, address, whether it
    is alive; cores, memory in bytes, GPUs, and how much of them is used; and its executors. A worker that came back is
    there once. ``applications`` are the active ones of the same answer.
    """
    found: dict[object, dict[str, Any]] = {}
    sizes = {int(app.get("memoryperexecutor") or 0) for app in applications if app.get("cores")}
    alive = {worker.get("host") for worker in workers if worker.get("state") == "ALIVE"}
    for worker in workers:
        named = _ID.match(str(worker.get("id")))
        here = worker.get("state") == "ALIVE"
        if not named and not here and worker.get("host") in alive:
            continue
        key = int(named["rank"]) if named else worker.get("id")
        if here or key not in found:
            found[key] = {
                "rank": int(named["rank"]) if named else None,
                "host": named["host"] if named else worker.get("host"),
                "address": worker.get("host"),
                "alive": here,
                "cores": worker.get("cores"),
                "memory": int(worker.get("memory") or 0) * MIB,
                "gpus": _gpus(worker.get("resources")),
                **_used(worker if here else {}, sizes),
            }
    return tuple(sorted(found.values(), key=lambda entry: (entry["rank"] or 0, str(entry["host"]))))


def _used(worker: Mapping[str, Any], sizes: Collection[int]) -> dict[str, Any]:
    """What is used of a worker; of one that is lost nothing is. ``sizes`` are the executors', in MiB."""
    memory = int(worker.get("memoryused") or 0)
    return {
        "cores_used": int(worker.get("coresused") or 0),
        "memory_used": memory * MIB,
        "gpus_used": _gpus(worker.get("resourcesused")),
        "executors": _executors(memory, sizes),
    }


def _executors(memory: int, sizes: Collection[int]) -> int | None:
    """How many executors take so much memory (MiB); None when they are not all of one size."""
    if not memory:
        return 0
    (size,) = sizes if len(sizes) == 1 else (0,)
    return memory // size if size and memory % size == 0 else None


def _gpus(resources: Any) -> int:
    return len(((resources or {}).get("gpu") or {}).get("addresses") or ())


def applications(active: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The ``active`` applications in the master's answer: id, name, state, cores that it holds, and when it began, in
    seconds since 1970. An application without cores waits for some, or needs none.
    """
    return tuple(
        {
            "id": app.get("id"),
            "name": app.get("name"),
            "state": app.get("state"),
            "cores": int(app.get("cores") or 0),
            "executor_memory": int(app.get("memoryperexecutor") or 0) * MIB,
            "started_at": int(app.get("starttime") or 0) / 1000,
        }
        for app in active
    )


def lost(each: Iterable[Mapping[str, Any]]) -> list[str]:
    """In words, the nodes of workers that are not alive; nothing when all are."""
    nodes = list(dict.fromkeys(str(worker["host"]) for worker in each if not worker["alive"]))
    more = [f"and {len(nodes) - _SHOWN} more"] if len(nodes) > _SHOWN else []
    return [f"lost {', '.join([*nodes[:_SHOWN], *more])}"] if nodes else []


def missed(
    workers: Iterable[Mapping[str, Any]], each: Iterable[Mapping[str, Any]], failed: Container[object]
) -> list[str]:
    """In words, every node without a worker for a while, except for workers (by rank) that left word that they failed.

    ``workers`` are as in the master's answer, ``each`` is what this module's function of that name makes of them.
    """
    heard: dict[object, float] = {}
    for worker in workers:
        last = float("inf") if worker.get("state") == "ALIVE" else int(worker.get("lastheartbeat") or 0) / 1000
        heard[worker.get("host")] = max(last, heard.get(worker.get("host"), 0.0))
    lost = [worker for worker in each if not worker["alive"] and worker["rank"] not in failed]
    silent = [worker["host"] for worker in lost if time.time() - heard.get(worker["address"], 0.0) > _PATIENCE]
    return [f"{node} is lost; the session goes on with the other nodes" for node in dict.fromkeys(silent)]

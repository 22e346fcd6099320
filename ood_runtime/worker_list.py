"""The workers of a cluster one by one, as its master tells them, with the ranks and nodes that people know."""

import re
import time
from collections.abc import Container, Iterable, Mapping
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


def each(workers: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """One entry for each of ``workers`` in the master's answer: rank (None before Spark 4), host, address, cores,
    memory in bytes, and whether it is alive. A worker that came back is there once.
    """
    found: dict[object, dict[str, Any]] = {}
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
                "cores": worker.get("cores"),
                "memory": int(worker.get("memory") or 0) * MIB,
                "alive": here,
            }
    return tuple(sorted(found.values(), key=lambda entry: (entry["rank"] or 0, str(entry["host"]))))


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

"""The workers of a cluster one by one, as its master tells them, with the ranks and nodes that people know."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MIB = 1 << 20
_SHOWN = 5

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

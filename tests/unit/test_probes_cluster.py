"""The proof that a cluster has its workers, with some of them in trouble."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ood_runtime.probes import MasterPage, SparkWorkers
from ood_runtime.secret import Secret
from ood_runtime.service import Answer


@dataclass
class Master:
    """What the master's page says."""

    alive: int = 3
    workers: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def page(self) -> bytes:
        return json.dumps({"status": "ALIVE", "aliveworkers": self.alive, "workers": self.workers}).encode()


@pytest.fixture
def master() -> Iterator[Master]:
    master = Master()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(master.page())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    master.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield master
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    path = tmp_path / "trouble"
    path.mkdir()
    return path


RANKS = {"spark-worker-0": (0,), "spark-workers": (1, 2)}


def look(port: int, trouble: Path, *given_up: str, wanted: int = 3) -> Answer:
    return SparkWorkers(MasterPage("127.0.0.1", port, Secret("Bearer gtoken")), wanted, 3, RANKS, trouble)(given_up)


def note(trouble: Path, rank: int, state: str, reason: str) -> None:
    (trouble / str(rank)).write_text(f"node{rank}\n{state}\n{reason}\n")


def test_all_are_well(master: Master, trouble: Path) -> None:
    assert look(master.port, trouble) == Answer(ready=True, detail="3 of 3 workers", workers=(3, 3))


def test_one_is_started_again(master: Master, trouble: Path) -> None:
    master.alive = 2
    note(trouble, 2, "restarting", "Spark ended with exit status 1")
    answer = look(master.port, trouble)
    assert not answer.ready and not answer.hopeless and not answer.notices
    assert answer.detail.startswith("2 of 3 workers; worker 2 on node2 is started again: Spark ended with")


def test_one_has_failed_and_all_are_wanted(master: Master, trouble: Path) -> None:
    master.alive = 2
    note(trouble, 2, "failed", "/opt/java is not on this node")
    answer = look(master.port, trouble)
    told = "worker 2 on node2 failed: /opt/java is not on this node (logs/spark-worker-2.log)"
    assert answer.hopeless == f"1 of 3 workers failed: {told}"
    assert answer.notices == (told,)


def test_one_has_failed_and_two_are_enough(master: Master, trouble: Path) -> None:
    master.alive = 2
    note(trouble, 2, "failed", "no reason")
    answer = look(master.port, trouble, wanted=2)
    assert answer.ready and not answer.hopeless
    assert len(answer.notices) == 1


def test_a_launcher_that_has_ended_takes_its_workers_along(master: Master, trouble: Path) -> None:
    master.alive = 1
    assert not look(master.port, trouble, "spark-workers", wanted=1).hopeless
    assert look(master.port, trouble, "spark-workers", wanted=2).hopeless == (
        "2 of 3 workers failed: spark-workers has ended"
    )
    assert look(master.port, trouble, "spark-master", "jupyter", wanted=1).hopeless == ""


def test_what_a_worker_says_itself_tells_more_than_the_end_of_its_launcher(master: Master, trouble: Path) -> None:
    note(trouble, 1, "failed", "no route")
    note(trouble, 2, "failed", "no route")
    reasons = look(master.port, trouble, "spark-workers").hopeless
    assert reasons.count("no route") == 2 and "has ended" not in reasons


def test_of_many_only_some_are_told(trouble: Path) -> None:
    for rank in range(10, 60):
        note(trouble, rank, "failed", "no Java")
    answer = SparkWorkers(MasterPage("127.0.0.1", 1, Secret("x")), 1000, 1000, {}, trouble)(())
    assert answer.hopeless.startswith("50 of 1000 workers failed: worker 10 on node10 failed")
    assert answer.hopeless.count("no Java") == 3


def test_without_a_master_the_workers_trouble_is_told_too(trouble: Path) -> None:
    note(trouble, 1, "failed", "no route to the master")
    answer = look(1, trouble)
    assert not answer.ready
    assert "no route to the master" in answer.hopeless
    assert answer.workers is None


def test_no_record_counts_on_one_node(master: Master) -> None:
    assert SparkWorkers(MasterPage("127.0.0.1", master.port, Secret("x")), 1, 1, {"spark-worker": (0,)})(()).ready

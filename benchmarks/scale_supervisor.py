"""A supervisor that looks after many workers, for benchmarks/scale.py: its master is a stand-in that tells of them."""

import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from ood_runtime import worker_list
from ood_runtime.plan import Plan
from ood_runtime.probes import SparkWorkers
from ood_runtime.secret import Secret
from ood_runtime.service import Check, Service
from ood_runtime.session import Session
from ood_runtime.status import Status
from ood_runtime.supervisor import Supervisor

_SECONDS = 30.0  # that its share of a core is measured over


def answer_of(count: int) -> dict[str, Any]:
    """What a Spark master says of ``count`` workers on as many nodes, and of two notebooks that use half of each."""
    workers = [
        {
            "id": f"worker-{rank}-node{rank:04d}-20261122101500-10.1.{rank // 250}.{rank % 250 + 1}-40001",
            "host": f"10.1.{rank // 250}.{rank % 250 + 1}",
            "port": 40001,
            "webuiaddress": f"http://10.1.{rank // 250}.{rank % 250 + 1}:40002",
            "cores": 64,
            "coresused": 32,
            "coresfree": 32,
            "memory": 250_000,
            "memoryused": 120_000,
            "memoryfree": 130_000,
            "resources": {},
            "resourcesused": {},
            "resourcesfree": {},
            "state": "ALIVE",
            "lastheartbeat": 1790000000000,
        }
        for rank in range(count)
    ]
    application = {"name": "notebook", "cores": 16 * count, "memoryperexecutor": 30_000, "state": "RUNNING"}
    active = [{**application, "id": f"app-20261122101500-000{number}", "starttime": 1} for number in range(2)]
    told = {"workers": workers, "activeapps": active, "aliveworkers": count, "status": "ALIVE"}
    return {"url": "spark://10.1.0.1:7077", **told}


def status_of(count: int) -> dict[str, Any]:
    """status.json of a session with so many workers, which has ended so that nobody looks for its processes."""
    status = Status(Path("/nonexistent"), "0", "jupyter-spark", "node0000", state="ended", message="")
    told = answer_of(count)
    each = worker_list.each(told["workers"], told["activeapps"])
    status.workers = {"ready": count, "wanted": count, "each": each}
    status.applications = worker_list.applications(told["activeapps"])
    return status.as_dict()


def standing(count: int) -> tuple[int, float]:
    """Memory (bytes, RSS) of a supervisor of so many workers, and its share of a core."""
    body = json.dumps(answer_of(count)).encode()

    class Master(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Master) as master,
        tempfile.TemporaryDirectory() as directory,
    ):
        threading.Thread(target=master.serve_forever, daemon=True).start()
        argv = [sys.executable, "-m", __name__, directory, str(master.server_address[1]), str(count)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        if not child.stdout or not child.stdout.readline():
            raise RuntimeError("the supervisor did not become ready")
        process = psutil.Process(child.pid)
        before = process.cpu_times()
        time.sleep(_SECONDS)
        after, memory = process.cpu_times(), process.memory_info().rss
        child.terminate()
        child.communicate()
        master.shutdown()
    return memory, (after.user + after.system - before.user - before.system) / _SECONDS


def _supervise(directory: Path, port: int, count: int) -> None:
    proof = SparkWorkers("127.0.0.1", port, Secret("Bearer x"), count, count)
    check = Check("spark-cluster", proof, ready_seconds=60, log="logs/stub.log")
    stub = Service(name="stub", argv=("sleep", "600"), ready_seconds=60)
    with Session(directory / "session", "scale", directory) as session:
        status = Status(session.root, session.id, "scale", os.uname().nodename)
        with Supervisor(session, status, dict(os.environ), 5) as supervisor:
            supervisor.start(Plan(services=(stub,), checks=(check,)))
            print("ready", flush=True)
            supervisor.watch()


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

"""The script of workers on other nodes, run for real on this one, with stand-ins for Java and for the master.

The stand-in for Java is a small program that notes what it was started with, waits at its gate as a Spark worker does,
and then does what the test has told it. It knows no Spark.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ood_runtime import processes
from ood_runtime.gate import tell
from ood_runtime.spark_worker_script import RemoteWorker, environment_file, script

# What each start does is the next word in $STAND_IN: stay, stubborn (SIGTERM is not heeded), family (with a child, and
# one that has left the session), a number (end with that status), kill. The last one holds for all further starts.
STAND_IN = f"""#!{sys.executable} -SEs
import json, os, resource, signal, subprocess, sys, time
place = os.environ["STAND_IN_NOTES"]
gate = next((a.partition("=")[2] for a in sys.argv if a.startswith("-Dspark.metrics.conf=")), None)
mask = os.umask(0o77)
note = {{"pid": os.getpid(), "argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd(), "umask": mask,
        "files": resource.getrlimit(resource.RLIMIT_NOFILE), "processes": resource.getrlimit(resource.RLIMIT_NPROC),
        "work": sorted(os.listdir()), "passed": None, "started": time.time()}}
def write():
    name = f"{{place}}/{{os.environ['OOD_RUNTIME_WORKER']}}.{{note['started']:.6f}}"
    open(name + ".new", "w").write(json.dumps(note))
    os.rename(name + ".new", name + ".json")
number = len([n for n in os.listdir(place) if n.startswith(os.environ["OOD_RUNTIME_WORKER"] + ".")])
words = os.environ["STAND_IN"].split()
word = words[min(number, len(words) - 1)]
if word == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if word == "family":
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], start_new_session=True)
def say(text):
    try:
        os.write(1, text.encode())
    except OSError:
        pass  # as Java does
say("INFO stand-in: here\\n")
write()
if gate:
    note["read"] = open(gate).read()
    note["passed"] = time.time()
    write()
if word == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if word.isdigit():
    say("ERROR stand-in: no luck today\\nINFO stand-in: end\\n")
    sys.exit(int(word))
while True:
    time.sleep(600)
"""


def looking_often(text: str) -> str:
    """The script, but it looks after its master every second."""
    slow = "sleep $((13 + rank % 5))"
    assert slow in text
    return text.replace(slow, "sleep 1")


class Master:
    """Somebody who listens where the master does; ``open`` and ``close`` may come in any order.

    ``ready_file`` is what says that it takes workers; ``open`` does so at once, ``listen`` does not yet.
    """

    def __init__(self, ready_file: Path) -> None:
        self.ready_file = ready_file
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._socket: socket.socket | None = None

    def open(self) -> None:
        self.listen()
        tell(self.ready_file, ready=True, needed=True)

    def listen(self) -> None:
        self._socket = self._socket or socket.create_server(("127.0.0.1", self.port), backlog=4096)

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


class Workers:
    """A session's worker script in ``root``, run by ``shell``; every rank of it is looked after."""

    def __init__(self, root: Path, shell: str, master: Master) -> None:
        self.root, self.shell, self.master = root, shell, master
        self.disk, self.notes, self.home = root / "disk", root / "notes", root / "home"
        self.logs, self.trouble = root / "session" / "logs", root / "session" / "ood-runtime" / "trouble"
        for directory in (self.disk, self.notes, self.home, self.logs, self.trouble):
            directory.mkdir(parents=True)
        self.session = f"test-{os.getpid()}-{time.time_ns()}"
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.java = root / "session" / "java"
        self.java.write_text(STAND_IN)
        self.java.chmod(0o700)
        self.write()

    def write(
        self,
        does: str = "stay",
        environment: Mapping[str, str] | None = None,
        change: Callable[[str], str] = str,
        **values: Any,
    ) -> None:
        """Write the session's files; ``change`` works on the text of the script."""
        worker = RemoteWorker(
            session_id=self.session,
            logs=self.logs,
            trouble=self.trouble,
            environment_file=self.root / "session" / "environment.sh",
            environment={"SPARK_SCALA_VERSION": "2.13", "SPARK_LOCAL_IP": "192.0.2.77"},
            umask=0o027,
            java=self.java,
            options=self.root / "session" / "worker.args",
            main="org.apache.spark.deploy.worker.Worker",
            program=("--properties-file", "/p", f"spark://127.0.0.1:{self.master.port}"),
            master_host="127.0.0.1",
            master_port=self.master.port,
            master_ready=self.master.ready_file,
            executor_cores=1,
            executor_mib=16,
            reserve_mib=64,
            heap_share=0.7,
            scratch=(str(self.disk),),
            boot_seconds=20,
            gone_seconds=3,
        )
        self.worker = replace(worker, **values)
        self.script.write_text(change(script(self.worker)))
        driver = {"PATH": os.environ["PATH"], "STAND_IN": does, "STAND_IN_NOTES": str(self.notes)}
        self.worker.environment_file.write_bytes(environment_file({**driver, **(environment or {})}))

    @property
    def script(self) -> Path:
        return self.root / "session" / "worker.sh"

    def start(self, rank: int = 1, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a worker as the poorest launcher would: with HOME alone, in it, and without an output."""
        self.running[rank] = subprocess.Popen(
            [self.shell, self.script, str(rank)],
            env={"HOME": str(self.home), **(env or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            umask=0o077,
        )
        return self.running[rank]

    def started(self, rank: int = 1) -> list[dict[str, Any]]:
        """What each start of Java for ``rank`` has noted, in their order."""
        paths = sorted(self.notes.glob(f"{self.session}-{rank}.*.json"))
        return [json.loads(path.read_text()) for path in paths]

    def begun(self, rank: int = 1, times: int = 1) -> dict[str, Any]:
        """What the last start of Java has noted, as soon as there were so many."""
        return self.wait(lambda: len(self.started(rank)) >= times and self.started(rank)[-1])  # type: ignore[no-any-return]

    def log(self, rank: int = 1) -> str:
        return (self.logs / f"spark-worker-{rank}.log").read_text(errors="replace")

    def record(self, rank: int = 1) -> list[str]:
        """The record of a worker in trouble: host, state, reason."""
        path = self.trouble / str(rank)
        return path.read_text().splitlines() if path.exists() else []

    def left(self) -> list[object]:
        """Processes and directories of these workers."""
        return [*processes.marked(self.session), *self.disk.iterdir()]

    def runs(self, pid: int) -> bool:
        """Whether the process is there and does something still."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def wait(self, look: Callable[[], Any], seconds: float = 15.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := look()):
            assert time.monotonic() < deadline, "what was waited for did not happen"
            time.sleep(0.01)
        return value

    def end(self) -> None:
        """After a test, whatever has become of it."""
        for process in self.running.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
        processes.end(lambda: processes.marked(self.session), 5)

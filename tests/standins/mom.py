"""What runs the tasks of a job on its "nodes", for all stand-ins: PBS' mom, LSF's RES, Grid Engine's execd, sshd.

It is started with the job and is no part of it, so that neither the end of a launcher nor the job's own supervisor
reaches a task in a way that could not reach another host. A task is a session of its own; when its leader ends, the
rest of that session is killed, and at the end of the job every session is. What calls setsid escapes, as from PBS
and from schedulers that track processes by parent only.

Each host is looked for at a socket of its own. On one machine all are the same mom's, and ``hostname`` says so in all
tasks; on machines of their own (``batch``) there is one mom on each.

Lacks: limits, accounting, the delays of a network.
"""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

SOCKET = "STANDIN_MOM"
KEEP, KILL = "keep", "kill"


def connect(host: str) -> socket.socket:
    """A connection to the mom of this job on ``host``."""
    return connect_to(Path(f"{os.environ[SOCKET]}-{host}"))


def connect_to(path: Path) -> socket.socket:
    """A connection to the mom that listens at ``path``."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def spawn(connection: socket.socket, **request: Any) -> bool:
    """Ask for a task, with our standard output for its own where it wants that; False when the node refuses it.

    A request has argv, env, cwd, umask, host, slots (0: any number at once), output (a file, "" for our own, or
    "terminal", which hangs up when its launcher is gone) and on_close: whether the task is killed then. That of PBS may
    have resident, a limit of the resident size in bytes (0: none), and first_task, the number of the host's first task.
    """
    ours = [] if request["output"].startswith("/") else [1, 2]
    socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], ours)
    return bool(_read(connection)["accepted"])


def send_signal(connection: socket.socket, number: int) -> None:
    """Ask that the task's session gets a signal; there is no answer."""
    connection.sendall(json.dumps({"signal": number}).encode() + b"\n")


def send_signal_to_all(path: Path, number: int) -> None:
    """Have every task of the mom that listens at ``path`` get a signal; SIGKILL ends the mom too."""
    with contextlib.suppress(EOFError, OSError), connect_to(path) as connection:
        connection.sendall(json.dumps({"signal_to_all": number}).encode() + b"\n")
        _read(connection)


def wait(connection: socket.socket) -> int:
    """The end of the task: its exit status, or minus the number of the signal; 254 when it could not be executed."""
    return int(_read(connection)["status"])


def _read(connection: socket.socket) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        received = connection.recv(1)
        if not received:
            raise EOFError
        line += received
    answer: dict[str, Any] = json.loads(line)
    return answer


class Mom:
    """The server: one thread for each task."""

    def __init__(self) -> None:
        self.sessions: set[int] = set()
        self.temporary: set[str] = set()
        self.running: Counter[str] = Counter()
        self.started: Counter[str] = Counter()
        self.lock = threading.Lock()

    def serve(self, path: str) -> None:
        """Run tasks until killed by ``end``."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(256)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self.handle, args=[connection], daemon=True).start()

    def handle(self, connection: socket.socket) -> None:
        """One task, from the request to its end."""
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 24, 2)
        while data and not data.endswith(b"\n"):
            data += connection.recv(1 << 24)
        if not data:
            return
        request = json.loads(data)
        if "signal_to_all" in request:
            self.signal_to_all(request["signal_to_all"])
            _answer(connection)
            return
        with self.lock:
            accepted = not request["slots"] or self.running[request["host"]] < request["slots"]
            self.running[request["host"]] += accepted
            if "first_task" in request:
                request["env"]["PBS_TASKNUM"] = f"{request['first_task'] + self.started[request['host']]:08X}"
                self.started[request["host"]] += 1
        _answer(connection, accepted=accepted)
        if accepted:
            status = self.run(request, connection, descriptors)
            with self.lock:
                self.running[request["host"]] -= 1
            _answer(connection, status=status)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.close()

    def run(self, request: dict[str, Any], connection: socket.socket, descriptors: list[int]) -> int:
        """Run the task, and pass on to it what its launcher says."""
        master = -1
        argv = request["argv"]
        self.make_temporary(request["env"].get("TMPDIR"))
        if request["output"] == "terminal":
            master, slave = os.openpty()
            argv, outputs, stdin = ["setsid", "--ctty", *argv], [slave, slave], slave
        else:
            stdin = os.open(os.devnull, os.O_RDONLY)
            file = request["output"] and os.open(request["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            outputs = [file, file] if file else descriptors
        places = {name: request[name] for name in ("env", "cwd", "umask")}
        prepare = partial(_prepare, request.get("resident", 0), "first_task" in request)
        try:
            task = subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=outputs[0],
                stderr=outputs[1],
                start_new_session=master < 0,
                preexec_fn=prepare,  # noqa: PLW1509  # takes no lock
                **places,
            )
        except OSError:
            return 254
        finally:
            for descriptor in {stdin, *outputs} - set(descriptors):
                os.close(descriptor)
        self.sessions.add(task.pid)
        terminal = [master, os.dup(descriptors[0])] if master >= 0 else []
        arguments = [connection, task.pid, request["on_close"], *terminal]
        listener = threading.Thread(target=_listen, args=arguments, daemon=True)
        listener.start()
        status = task.wait()
        signal_session(task.pid, signal.SIGKILL)
        # The thread must not look at a descriptor any more that is somebody else's by then.
        connection.shutdown(socket.SHUT_RD)
        listener.join()
        return status

    def make_temporary(self, name: str | None) -> None:
        """The job's temporary directory on this host, which ends with it."""
        if name and not Path(name).exists():
            Path(name).mkdir(mode=0o700)
            self.temporary.add(name)

    def signal_to_all(self, number: int) -> None:
        """Signal every task."""
        if number == signal.SIGKILL:
            self.end()
        for session in list(self.sessions):
            signal_session(session, number)

    def end(self, *_: object) -> None:
        """The end of the job: no task outlives it, and none is asked first."""
        for session in list(self.sessions):
            signal_session(session, signal.SIGKILL)
        for name in self.temporary:
            shutil.rmtree(name, ignore_errors=True)
        os._exit(0)


def _prepare(resident: int, deaf: bool) -> None:
    """What PBS does to a task before it runs: a limit that Linux does not heed, and no ear for SIGHUP."""
    if resident:
        resource.setrlimit(resource.RLIMIT_RSS, (resident, resident))
    if deaf:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _listen(connection: socket.socket, session: int, on_close: str, master: int = -1, output: int = -1) -> None:
    """Pass on the launcher's signals to the task, and what the task writes to its terminal to the launcher."""
    readers: list[Any] = [connection] if master < 0 else [connection, master]
    with contextlib.suppress(EOFError, OSError):
        while True:
            ready = select.select(readers, [], [])[0]
            if master in ready and not _relay(master, output):
                readers.remove(master)  # nobody has the terminal open; the connection stays, as sshd's does
            if connection in ready:
                signal_session(session, _read(connection)["signal"])
    if on_close == KILL:
        signal_session(session, signal.SIGKILL)
    if master >= 0:
        os.close(master)  # the kernel hangs up
        os.close(output)


def _relay(master: int, output: int) -> bool:
    try:
        data = os.read(master, 4096)
    except OSError:
        return False
    with contextlib.suppress(BrokenPipeError):
        os.write(output, data)
    return True


def _answer(connection: socket.socket, **answer: object) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")


def signal_session(session: int, number: int) -> None:
    """Send a signal to all processes of a session."""
    for pid in members(session):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def members(session: int) -> Iterator[int]:
    """The processes of a session that have not ended yet (proc(5), stat)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                yield int(path.parent.name)


if __name__ == "__main__":
    mom = Mom()
    signal.signal(signal.SIGTERM, mom.end)
    mom.serve(sys.argv[1])

"""A whole session with two small programs, and its guard, as seen from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ood_runtime import session
from ood_runtime.errors import MissingError
from ood_runtime.plan import Directories, File, Grant, Outline, Plan
from ood_runtime.planner import Planner
from ood_runtime.probes import Listening
from ood_runtime.request import Request
from ood_runtime.secret import Secret
from ood_runtime.service import Service
from tests.unit.calls import WaitUntil

LISTEN = """
import os, signal, socket, sys
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()  # as a terminal does
    signal.pause()
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""
# As a scheduler's launcher: it ends when its tasks have, which take a while.
LAUNCH = "trap 'sleep 0.3; touch cleared; exit' INT; touch launched; while :; do sleep 0.05; done"


@dataclass
class SmallPlanner(Planner):
    """Stands for the process that plans: one service that listens, one that just stays, and maybe a launcher."""

    request: Request
    outline_: Outline
    script: str
    draws: list[int] = field(default_factory=list)
    pid: int = -1

    def ask(self, request: Request) -> None:
        pass

    def close(self) -> None:
        pass

    def answers(self, seconds: float) -> bool:
        if self.script == "hanging":
            globals()["hanging"] = subprocess.Popen(["sleep", "60"])
            time.sleep(seconds)
        return self.script != "hanging"

    def outline(self) -> Outline:
        if self.script == "missing":
            raise MissingError("no Jupyter here", remedy="install it")
        return self.outline_

    def plan(self, directories: Directories, grant: Grant) -> Plan:
        port = grant.ports["web"]
        self.draws.append(port)
        if self.script == "taken" or (self.script == "taken once" and len(self.draws) == 1):
            globals()["taken"] = socket.create_server(("127.0.0.1", port))
        argv = (sys.executable, "-S", "-c", LISTEN, str(port), self.script)
        web = Service(name="web", argv=argv, ready=Listening((port,)), ready_seconds=10, ports=(port,))
        stay = Service(name="stay", argv=("sleep", "60"), ready_seconds=5)
        launchers = [_launcher(directories.session)] if self.script == "launcher" else []
        password = grant.secrets["password"]
        secret = File("web/secret", password.reveal(), secret=True)
        connection: dict[str, str | int | Secret] = {
            "host": "localhost",
            "port": port,
            "password": grant.secrets["password"],
        }
        return Plan(files=(secret,), services=(web, stay, *launchers), connection=connection, url="http://localhost/")


def _launcher(directory: Path) -> Service:
    argv = ("sh", "-c", LAUNCH)
    return Service(
        name="launcher", argv=argv, ready_seconds=5, directory=directory, remote=True, stop_signal=signal.SIGINT
    )


@dataclass
class Running:
    """A guarded session that was started, as seen from outside."""

    guard: int
    root: Path
    output: Path
    wait_until: WaitUntil

    def until_ready(self) -> dict[str, Any]:
        self.wait_until(lambda: (self.root / "connection.yml").exists() or self.fail_when_ended())
        self.wait_until(lambda: self.status()["state"] == "ready")
        return dict(yaml.safe_load((self.root / "connection.yml").read_text()))

    def fail_when_ended(self) -> bool:
        pid, _ = os.waitpid(self.guard, os.WNOHANG)
        assert pid == 0, self.output.read_text()
        return False

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "status.json").read_text()))

    @property
    def supervisor(self) -> int:
        return session.read_record(self.root).pid

    def wait(self, seconds: float = 10.0) -> int:
        ended: list[int] = []

        def look() -> bool:
            pid, status = os.waitpid(self.guard, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        self.wait_until(look, seconds)
        return ended[0]


StartSmall = Callable[..., Running]

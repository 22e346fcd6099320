"""A real session under test: looked at from outside, ended, and searched for remains."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import yaml

Value = TypeVar("Value")

READY_WITHIN = 120.0  # seconds; a first start builds class-data archives beside it
STOPPED_WITHIN = 40.0  # seconds; the promise is to be gone within a scheduler's grace of 30


class RunningSession:
    """One `ood-runtime start`, from its first line of output to its last process."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path, output_file: Path) -> None:
        self.process = process
        self.directory = directory
        self._output_file = output_file
        self._secrets: set[str] = set()
        self._id = ""
        self._outside: list[str] = []

    @property
    def id(self) -> str:
        """What every process of the session carries in OOD_RUNTIME_SESSION; "" before there is one."""
        try:
            record = json.loads((self.directory / "ood-runtime" / "session.json").read_text())
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return self._id
        self._id = str(record["id"])
        self._outside = list(record.get("outside", []))
        return self._id

    def output(self) -> str:
        """Everything that `start` has printed so far, both streams in the order of printing."""
        return self._output_file.read_text(errors="replace")

    def connection(self, within: float = READY_WITHIN) -> dict[str, str | int]:
        """What connection.yml says, as soon as it is there.

        Fails at once, with the output, when `start` ends before; and after so many seconds.
        """
        text = self.wait_for(self._connection_text, "connection.yml", within)
        values = yaml.safe_load(text)
        assert isinstance(values, dict), text
        assert self.id, "a session that is ready has no record"
        self._secrets.update(
            str(values[key]) for key in ("password", "xsrf", "csrf_token", "spark_ui_secret") if key in values
        )
        self._secrets.update(secrets_of_spark(self.directory))
        return values

    def secrets(self) -> frozenset[str]:
        """What must stay secret, as far as it was found when the connection was read."""
        return frozenset(self._secrets)

    def add_secret(self, secret: str) -> None:
        """Something else that must stay secret."""
        self._secrets.add(secret)

    def status(self) -> dict[str, object]:
        """What status.json says now."""
        status = json.loads((self.directory / "status.json").read_text())
        assert isinstance(status, dict)
        return status

    def wait_for(self, look: Callable[[], Value | None], what: str, within: float = READY_WITHIN) -> Value:
        """The first answer of ``look`` that is not None, while `start` runs; seconds."""
        deadline = time.monotonic() + within
        while True:
            # Asked before the look, so that what a process did last is seen too.
            ended = self.process.poll()
            if (value := look()) is not None:
                return value
            assert ended is None, f"start ended with {ended} before {what}:\n{self.output()}"
            assert time.monotonic() < deadline, f"no {what} after {within:.0f} s:\n{self.output()}"
            time.sleep(0.05)

    def processes(self) -> dict[int, str]:
        """The session's processes that are alive: their command lines by pid."""
        return processes_of(self.id) if self.id else {}

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """End the session by a signal to `start`; its exit status. Fails when it does not end in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.wait()

    def wait(self, within: float = STOPPED_WITHIN) -> int:
        """The exit status of `start`, which has to end by itself within so many seconds."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"start did not end within {within:.0f} s:\n{self.output()}") from None

    def assert_nothing_left(self, within: float = 5.0) -> None:
        """No process, connection file, secret or scratch directory is left, after so many seconds at most.

        The wait is for what was ended a moment ago and is not reaped yet.
        """
        deadline = time.monotonic() + within
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"left running: {left}\n{self.output()}"
        assert not (self.directory / "connection.yml").exists(), "connection.yml is still there"
        scratch = [path for path in self._outside if Path(path).exists()]
        assert not scratch, f"left outside of the session directory: {scratch}"
        for path in files_below(self.directory):
            content = path.read_text(errors="replace")
            assert not any(secret in content for secret in self._secrets), f"{path} still holds a secret"

    def kill_remains(self) -> None:
        """End whatever a failed test left, so that it cannot disturb the next one."""
        identity = self.id
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes_of(identity) if identity else {}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _connection_text(self) -> str | None:
        try:
            return (self.directory / "connection.yml").read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None


def processes_of(session_id: str) -> dict[int, str]:
    """Command lines by pid of the living processes that carry this session's mark in their environment."""
    mark = f"OOD_RUNTIME_SESSION={session_id}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended while we looked, or another user's
    return found


def secrets_of_spark(directory: Path) -> Iterator[str]:
    """Every value of a Spark property below this directory whose name says that it is secret."""
    for path in files_below(directory / "ood-runtime"):
        for line in path.read_text(errors="replace").splitlines():
            if match := re.match(r"spark\.\S*(?:secret|secretKey|Password)[ =]+(\S{16,})$", line):
                yield match[1]


def files_below(directory: Path) -> Iterator[Path]:
    """Every regular file below, no link followed."""
    for root, _, names in os.walk(directory):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path

"""Waiting for a session that another process starts: until it can be used, or the reason why it never will be."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ood_runtime import connection, processes, session
from ood_runtime.errors import NotReadyError, OodRuntimeError, ServiceDiedError, SessionError
from ood_runtime.private_files import owned_directory
from ood_runtime.status import ENDED, FAILED, READY

_LOOK_SECONDS = 0.1
_SLACK_SECONDS = 2.0  # by which the clock may have been set since the boot, from which processes are counted


@dataclass(frozen=True)
class _Starter:
    """The process that starts the session: its pid, and when it began, in ticks since boot and in Unix seconds."""

    pid: int
    began: int | None
    began_at: float

    def alive(self) -> bool:
        """Whether it still runs, and its number is not another's by now."""
        return self.began is not None and processes.started_at(self.pid) == self.began and processes.alive(self.pid)


def until_ready(directory: Path, pid: int | None = None, timeout: float | None = None) -> str:
    """Wait until the session in ``directory`` is ready, and give the text of its connection.yml.

    ``pid`` is the process that starts the session: there may be no session yet, but its end is the end. Without it a
    session must be there, or begin within ``timeout`` seconds.

    Raises what the session failed with; ServiceDiedError when it ended without a word; NotReadyError after
    ``timeout`` seconds; SessionError when the directory holds no session, or is not ours.
    """
    starter = None if pid is None else _find(pid)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        # Asked before the look, so that what a process did last is seen too.
        gone = starter is not None and not starter.alive()
        _check_owner(directory)
        state = _state(directory)
        if state and not gone and (text := _ready(directory, state)):
            return text
        if starter is not None:
            _end_with(starter, state, directory, gone=gone)
        else:
            _end_without(state, directory, patient=deadline is not None)
        if deadline is not None and time.monotonic() > deadline:
            raise _too_late(directory, state, timeout or 0.0)
        time.sleep(_LOOK_SECONDS)


def _find(pid: int) -> _Starter:
    try:
        return _Starter(pid, processes.started_at(pid), psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return _Starter(pid, None, 0.0)


def _ready(directory: Path, state: dict[str, Any]) -> str | None:
    """The text of connection.yml if the session is ready. Its status is written after that, and outlives it."""
    if state.get("state") != READY or not session.running(directory):
        return None
    return connection.read(directory)


def _end_with(starter: _Starter, state: dict[str, Any] | None, directory: Path, *, gone: bool) -> None:
    """Raise the reason when the process that starts the session is gone, or the session has told its end."""
    # A status that is older than the process is that of another session, which was here before.
    if state and _over(state) and (state.get("ended_at") or 0.0) > starter.began_at - _SLACK_SECONDS:
        if gone or not session.running(directory):
            raise _reason(state)
    elif gone:
        raise ServiceDiedError(
            f"process {starter.pid} ended before its session was ready",
            remedy="the job's own output has the reason (output.log in the portal's directory of the session)",
        )


def _end_without(state: dict[str, Any] | None, directory: Path, *, patient: bool) -> None:
    """Raise when there is no session, and none is expected, or when it has ended."""
    if state is None:
        if not patient:
            raise SessionError(
                f"no session in {directory}",
                remedy="name its directory with --session-dir, the process that starts it with --pid, or "
                "how long to wait for it with --timeout",
            )
        return
    if session.running(directory):
        return
    if not _over(state):
        raise ServiceDiedError(
            "the session was killed before it could say why",
            remedy="`ood-runtime stop` clears up what it left; see the job's own output for the reason",
        )
    raise _reason(state)


def _over(state: dict[str, Any]) -> bool:
    return state.get("state") in (ENDED, FAILED)


def _reason(state: dict[str, Any]) -> OodRuntimeError:
    """Why a session that is over never became ready, or is no longer."""
    told = state.get("error") or {}
    error = OodRuntimeError(
        str(told.get("what") or f"the session is over: {state.get('message', '')}"),
        remedy=str(told.get("remedy") or ""),
        log=str(told.get("log") or ""),
    )
    error.exit_status = int(told.get("exit_status") or NotReadyError.exit_status)
    return error


def _too_late(directory: Path, state: dict[str, Any] | None, timeout: float) -> NotReadyError:
    last = str(state.get("message")) if state else "there is no session yet"
    return NotReadyError(
        f"the session in {directory} is not ready after {timeout:g} s: {last}",
        remedy="`ood-runtime status` shows what it waits for",
    )


def _check_owner(directory: Path) -> None:
    if (directory.exists() or directory.is_symlink()) and not owned_directory(directory):
        raise SessionError(
            f"{directory} is not a directory that only you can write to, so the session in it may be another user's",
            remedy="name your session's directory with --session-dir",
        )


def _state(directory: Path) -> dict[str, Any] | None:
    """What status.json says; None as long as there is nothing to read."""
    try:
        state = json.loads((directory / session.STATUS).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None

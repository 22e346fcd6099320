"""Two processes keep a session: whichever is killed, the other one clears up.

The guard is the process that the job script started; the supervisor is its child, and all services descend
from that. When the supervisor is killed, the kernel hands its descendants to the guard, which ends them,
withdraws connection.yml and erases the secrets. When the guard is killed, the supervisor gets SIGTERM and
ends the session in order.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ood_runtime import kernel
from ood_runtime.signals import END_SIGNALS, SIGNALS, STOP_SIGNAL, heard

_REMOTE_SECONDS = 6.0  # for the end of workers on other nodes, which give theirs 4

Announce = Callable[[Path, str], None]


def run(work: Callable[[Announce], int]) -> int:
    """Run ``work`` in a guarded child and give its exit status; 128+N when it was ended by signal N.

    ``work`` gets a function to call with the session's directory and identifier as soon as they are known.
    """
    kernel.adopt_orphans()
    read_end, write_end = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, (*END_SIGNALS, STOP_SIGNAL))
    guard = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _supervise(work, guard, write_end)
    os.close(write_end)
    _forward_signals(child)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(read_end) as announced:
        lines = announced.read().splitlines()
    if ended < 0:
        for line in lines:
            _clear_up(**json.loads(line), number=-ended)
        return 128 - ended
    return ended


def _supervise(work: Callable[[Announce], int], guard: int, write_end: int) -> NoReturn:
    """The child: never returns."""
    exit_status = 1
    try:
        kernel.die_with_parent(signal.SIGTERM)
        SIGNALS.install()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (*END_SIGNALS, STOP_SIGNAL))
        if os.getppid() == guard:

            def announce(directory: Path, identifier: str) -> None:
                line = json.dumps({"directory": str(directory), "identifier": identifier})
                os.write(write_end, line.encode() + b"\n")

            exit_status = work(announce)
    except SystemExit as asked:
        exit_status = status_of(asked)
    except BaseException:  # noqa: BLE001  (os._exit would swallow it)
        traceback.print_exc()
    finally:
        leave(exit_status)


def status_of(asked: SystemExit) -> int:
    """The exit status that ``sys.exit`` was called for."""
    return asked.code if isinstance(asked.code, int) else 0 if asked.code is None else 1


def leave(exit_status: int) -> NoReturn:
    """End this process with ``exit_status``, whatever has become of its output."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(exit_status)


def _forward_signals(child: int) -> None:
    def forward(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is being cleared up after
            os.kill(child, number)

    for number in (*heard(), STOP_SIGNAL):
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (*END_SIGNALS, STOP_SIGNAL))


def _clear_up(directory: str, identifier: str, number: int) -> None:
    """The supervisor was killed: end what it started, and leave nothing secret."""
    # Loaded only now: the guard waits for days, and should be as small as can be.
    from ood_runtime import failures, processes, session, status  # noqa: PLC0415
    from ood_runtime.errors import ServiceDiedError, SessionError  # noqa: PLC0415

    root = Path(directory)

    def launchers() -> list[int]:
        return processes.marked(identifier, processes.REMOTE)

    def everything() -> set[int]:
        return {*processes.descendants(), *processes.marked(identifier)}

    processes.end(lambda: everything() - set(launchers()), seconds=5)
    # The kernel has asked these to end: see spawn.py.
    processes.await_end(launchers, _REMOTE_SECONDS)
    processes.end(everything, seconds=5)
    error = ServiceDiedError(
        f"the supervisor of this session ended with {failures.describe(-number)}",
        remedy="see the job's memory limit, and who or what sent the signal",
    )
    with contextlib.suppress(SessionError, OSError):  # another session has begun there, or the disk is gone
        session.clear_after(root, identifier)
        status.mark_failed(root, error)
    with contextlib.suppress(OSError, ValueError):
        print(f"ood-runtime: {error.what}; everything that it had started is gone", file=sys.stderr)  # noqa: T201

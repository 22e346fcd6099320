"""A child process that plans, so that the process which stays for the whole session keeps small.

Settings, templates and password hashes need 25 MB of libraries for a moment; a supervisor may run for days.
"""

import contextlib
import gc
import os
import pickle
import select
import signal
import socket
import traceback
from io import BufferedRWPair
from types import TracebackType
from typing import Any

from ood_runtime import kernel
from ood_runtime.errors import OodRuntimeError, ServiceDiedError
from ood_runtime.plan import Directories, Grant, Outline, Plan
from ood_runtime.request import Request
from ood_runtime.signals import END_SIGNALS, STOP_SIGNAL


class Planner:
    """Answers a request with an outline, and each drawing of ports and secrets with a plan.

    Made before anybody knows what will be asked: the libraries that it loads are what takes long.
    """

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            here.close()
            _serve(there)
        there.close()
        self._socket = here
        self._file = here.makefile("rwb")

    def __enter__(self) -> "Planner":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        with contextlib.suppress(ChildProcessError):  # who ends sessions has seen its end
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)

    def ask(self, request: Request) -> None:
        """Let it plan for ``request``, the only one in its life."""
        self._tell(request)

    def outline(self) -> Outline:
        """What must be known before anything is drawn. Raises SettingsError or MissingError."""
        outline: Outline = self._answer()
        return outline

    def answers(self, seconds: float) -> bool:
        """Wait at most so many ``seconds`` for the next answer; whether it is there, or never comes."""
        return bool(select.select([self._socket], [], [], seconds)[0])

    def plan(self, directories: Directories, grant: Grant) -> Plan:
        """The plan with these places, ports and secrets. Raises SettingsError or MissingError."""
        self._tell((directories, grant))
        plan: Plan = self._answer()
        return plan

    def close(self) -> None:
        """Let the child go."""
        if not self._file.closed:
            with contextlib.suppress(OSError):  # it has ended before it read all that it was told
                self._file.close()
            self._socket.close()

    def _tell(self, what: object) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended, as the answer will show
            pickle.dump(what, self._file)
            self._file.flush()

    def _answer(self) -> Any:
        try:
            answer = pickle.load(self._file)  # noqa: S301  (our own child)
        except (EOFError, ConnectionError) as error:
            raise ServiceDiedError(
                "the planning process ended unexpectedly", remedy="see the lines above; memory may have run out"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(connection: socket.socket) -> None:
    """The child: never returns."""
    kernel.die_with_parent(signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (*END_SIGNALS, STOP_SIGNAL):
        signal.signal(number, signal.SIG_IGN)  # the parent hears them, and closes the connection
    exit_status = 1
    try:
        with connection.makefile("rwb") as file:
            _answer_all(file)
        exit_status = 0
    except (BrokenPipeError, ConnectionError):
        exit_status = 0
    except BaseException:  # noqa: BLE001  (os._exit would swallow it)
        traceback.print_exc()
    finally:
        os._exit(exit_status)


def _answer_all(file: BufferedRWPair) -> None:
    def tell(answer: object) -> None:
        pickle.dump(answer, file)
        file.flush()

    # In so short a life no garbage is worth looking for, nor pydantic's plug-ins, which reads all installed packages.
    gc.disable()
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    try:
        from ood_runtime.planning import prepare  # noqa: PLC0415  (the weight that the parent must not carry)

        prepared = prepare(pickle.load(file))  # noqa: S301  (our own parent)
        tell(prepared.outline)
        while True:
            directories, grant = pickle.load(file)  # noqa: S301
            tell(prepared.plan(directories, grant))
    except EOFError:
        return  # nobody asks any more
    except OodRuntimeError as error:
        tell(error)

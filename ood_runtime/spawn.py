"""The only module that starts a program of a session."""

import signal
import subprocess
from collections.abc import Mapping
from functools import partial

from ood_runtime import kernel, ports, processes
from ood_runtime.errors import MissingError
from ood_runtime.service import Service


def spawn(service: Service, environment: Mapping[str, str], log: int) -> "subprocess.Popen[bytes]":
    """Start the program of ``service`` in a session of its own; what it says goes to the file descriptor ``log``.

    Raises MissingError when there is no such program.
    """
    complete = service.complete(environment)
    if service.remote:
        complete[processes.REMOTE] = complete.get(processes.MARK, "")
    last = service.stop_signal if service.remote else signal.SIGKILL
    kept = [sock for address in service.alone_at if (sock := ports.keep(*address))]
    try:
        return subprocess.Popen(
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=complete,
            cwd=service.directory,
            start_new_session=True,
            pass_fds=[sock.fileno() for sock in kept],
            preexec_fn=partial(_in_child, last),  # noqa: PLW1509  (this process has one thread)
        )
    except OSError as error:
        raise MissingError(
            f"cannot start {service.name}: {error.filename or service.argv[0]}: {error.strerror}",
            remedy="see `ood-runtime doctor`",
        ) from error
    finally:
        for sock in kept:
            sock.close()


def _in_child(last: signal.Signals) -> None:
    """Between fork and exec: get the ``last`` signal when the supervisor dies, and take others as any program does."""
    kernel.die_with_parent(last)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])

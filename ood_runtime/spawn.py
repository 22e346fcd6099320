"""The only module that starts a program of a session."""

import signal
import subprocess
from collections.abc import Mapping

from ood_runtime import kernel
from ood_runtime.errors import MissingError
from ood_runtime.service import Service


def spawn(service: Service, environment: Mapping[str, str], log: int) -> "subprocess.Popen[bytes]":
    """Start the program of ``service`` in a session of its own; what it says goes to the file descriptor ``log``.

    Raises MissingError when there is no such program.
    """
    try:
        return subprocess.Popen(
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=service.complete(environment),
            cwd=service.directory,
            start_new_session=True,
            preexec_fn=_in_child,  # noqa: PLW1509  (this process has one thread)
        )
    except OSError as error:
        raise MissingError(
            f"cannot start {service.name}: {error.filename or service.argv[0]}: {error.strerror}",
            remedy="see `ood-runtime doctor`",
        ) from error


def _in_child() -> None:
    """Between fork and exec: end with the supervisor, and take signals as any program does."""
    kernel.die_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])

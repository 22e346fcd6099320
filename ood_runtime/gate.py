"""The gate at which a program waits in the middle of its start: a pipe with a name, which it opens to read.

What the program could do alone is done by then, beside the start of what it needs. On other nodes, which pipes do not
reach, who opens the gate reads a file.
"""

import os
from pathlib import Path

from ood_runtime.errors import SessionError
from ood_runtime.private_files import write


def open_wide(path: Path) -> bool:
    """Let in who stands at the gate, which its program made with mkfifo(1); whether somebody did.

    Who waits reads nothing, and who comes again finds an empty file.
    """
    try:
        with open(path, "wb", opener=_without_waiting):
            write(path, "")
    except OSError:
        return False  # nobody stands there yet
    return True


def tell(path: Path, ready: bool, *, needed: bool) -> None:
    """Put a line into ``path``, for other nodes, when what they wait for is ``ready``, and none before.

    In place: a network file system looks for new content when a file is opened, but may remember for long which file a
    name meant. Raises SessionError where it cannot be written, if it is ``needed``.
    """
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "w") as file:
            file.write("ready\n" if ready else "")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if needed:
            raise SessionError(
                f"cannot write {path}, which other nodes wait for: {error.strerror}",
                remedy="see that the session's directory has room (`df`, `quota`)",
            ) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

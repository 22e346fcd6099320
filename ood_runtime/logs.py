"""The logs of a session: where they are, and their last lines."""

import os
from pathlib import Path

from ood_runtime.errors import SessionError

_TAIL_BYTES = 16384


def tail(path: Path, lines: int = 8) -> list[str]:
    """The last ``lines`` lines of ``path`` that are not empty; none when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]


def create(path: Path) -> int:
    """Open ``path`` for appending, for its owner only, and give the descriptor. Links are not followed."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def open_for_service(path: Path, *, needed: bool) -> int:
    """A file descriptor for what a service says, in a new log; to nowhere when there cannot be one and it is not
    ``needed``: better without a log than without the session.

    Raises SessionError.
    """
    try:
        return create(path)
    except OSError as error:
        if not needed:
            return os.open(os.devnull, os.O_WRONLY)
        raise SessionError(
            f"cannot write the log {path}: {error.strerror}",
            remedy="see that the session's directory has room (`df`, `quota`) and holds no link in that place",
        ) from error

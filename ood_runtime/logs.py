"""The logs of a session: where they are, and their last lines."""

import os
from pathlib import Path

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

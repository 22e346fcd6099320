"""The lock of a session directory, which holds on every node that shares it and ends with its process."""

import fcntl
import os
import time
from pathlib import Path

# Whoever asks if a lock is held holds it, too, for less than this.
_ASKING_SECONDS = 0.3


def take(path: Path) -> int | None:
    """Lock ``path`` and give the descriptor that holds the lock; None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + _ASKING_SECONDS
    while _lock(descriptor, fcntl.LOCK_EX) is False:
        if time.monotonic() > deadline:
            os.close(descriptor)
            return None
        time.sleep(0.01)
    return descriptor


def is_held(path: Path) -> bool | None:
    """Whether a process has taken ``path``; None where the file system has no locks (Lustre without flock)."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        locked = _lock(descriptor, fcntl.LOCK_SH)  # those who ask do not see each other
        return None if locked is None else not locked
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool | None:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True

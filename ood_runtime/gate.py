"""The gate at which a program waits in the middle of its start: a pipe with a name, which it opens to read.

What the program could do alone is done by then, beside the start of what it needs.
"""

import os
from pathlib import Path

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


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

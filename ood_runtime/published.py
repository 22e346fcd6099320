"""Copies of connection.yml that were published elsewhere, written down so that they go when the session ends.

Each is known by its path and what it said: a file that says something else by now is not ours to remove.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from ood_runtime.private_files import write

_LIST = "published.json"


def note(private: Path, path: Path, text: str) -> None:
    """Write down, in the session's directory ``private``, that ``path`` will hold ``text``. Raises OSError."""
    write(private / _LIST, json.dumps({**_noted(private), os.path.abspath(path): _digest(text.encode())}))  # noqa: PTH100


def withdraw(private: Path) -> None:
    """Remove every copy that still says what it said, and the list."""
    for path, digest in _noted(private).items():
        with suppress(OSError):
            if _digest(Path(path).read_bytes()) == digest:
                Path(path).unlink()
    with suppress(OSError):
        (private / _LIST).unlink(missing_ok=True)


def _noted(private: Path) -> dict[str, str]:
    try:
        found = json.loads((private / _LIST).read_text())
    except (OSError, ValueError):
        return {}
    return {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

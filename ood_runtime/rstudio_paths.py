"""Whether RStudio Server could use the places of a session: it cannot read every name, nor run from every disk."""

import os
import re
from pathlib import Path

from ood_runtime.errors import SettingsError
from ood_runtime.plan import Directories

_SOCKET_LIMIT = 107  # bytes, unix(7)
# Releases ask for a path of their own below server-data-dir; this is the longest (since 2022.07).
_RPC_SOCKET = "/rstudio-rserver/session-server-rpc.socket"
# RStudio itself replaces variables in the paths of its directories; its configuration files end a value at #.
_ODD = re.compile(r"[$#\n\r]")


def check(directories: Directories, own: Path, user: str) -> None:
    """Raises SettingsError when RStudio could not use the ``directories``; ``own`` is where ``user`` has sockets."""
    wrong = [
        f"{path} has a character in its name ($, #, or the end of a line) that RStudio does not read as it stands"
        for path in (directories.session, directories.sockets)
        if _ODD.search(str(path))
    ]
    if os.statvfs(_nearest(directories.private)).f_flag & os.ST_NOEXEC:
        wrong.append(f"{directories.session} is on a file system where no program can be run (noexec)")
    longest = max(len(_RPC_SOCKET), len(f"/rstudio-rsession/{user}-d".encode()))
    length = len(os.fsencode(own / "run")) + longest
    if length > _SOCKET_LIMIT:
        wrong.append(f"a socket below {own} would have a path of {length} bytes; {_SOCKET_LIMIT} is the limit")
    if wrong:
        raise SettingsError(
            "\n".join(wrong),
            remedy="use another directory: --session-dir for the session's, TMPDIR for the scratch space",
        )


def _nearest(path: Path) -> Path:
    """``path``, or the first one above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())

"""Files and directories that nobody else can read, change or swap."""

import grp
import os
import pwd
import shlex
import stat
import tempfile
from pathlib import Path

from ood_runtime.errors import SessionError


def write(path: Path, content: str | bytes, mode: int = 0o600, *, durable: bool = False) -> None:
    """Write ``path`` whole or not at all, with ``mode``: readers see the old content or the new one.

    ``durable`` forces it to the disk, for what another node is about to read.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def private_directory(path: Path, *, parents: bool = False) -> None:
    """Make ``path`` with mode 0700, or check that it is a directory of ours where nobody else can write.

    Raises SessionError otherwise: in a directory that others can write to they could plant or swap files.
    """
    if parents and not path.parent.exists():
        private_directory(path.parent, parents=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if not owned_directory(path):
        raise SessionError(
            f"{path} is not a directory that only you can write to",
            remedy=f"name another one with --session-dir, or `chmod go-w {shlex.quote(str(path))}` if it is yours",
        )


def owned_directory(path: Path) -> bool:
    """Whether ``path`` is a directory, no link, of this user, and not writable by anybody else."""
    try:
        info = path.lstat()
    except OSError:
        return False
    others = stat.S_IWOTH if _private_group(info.st_gid) else stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & others


def _private_group(gid: int) -> bool:
    """Whether the group is this user's alone, as where the umask is 002 and each user has a group."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}

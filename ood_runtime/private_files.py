"""Files and directories that nobody else can read, change or swap."""

import grp
import os
import pwd
import shlex
import stat
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ood_runtime.errors import SessionError

_MOST_LINKS = 40


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
    if parents:
        make(path)
    path.mkdir(mode=0o700, exist_ok=True)
    if not owned_directory(path):
        raise SessionError(
            f"{path} is not a directory that only you can write to",
            remedy=f"name another one with --session-dir, or `chmod go-w {shlex.quote(str(path))}` if it is yours",
        )


def make(path: Path) -> None:
    """Make ``path`` and its parents as far as they are missing, all with mode 0700 whatever the umask is."""
    if not path.exists():
        make(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def swappable(path: Path) -> str | None:
    """Why any other user could put another directory in the place of ``path`` or of one above it; None when none can.

    Directories of a group, or of the leader of a project, are passed: who shares them trusts each other.
    """
    for parent in path.resolve().parents:
        if not parent.exists():
            continue  # will be ours
        status = parent.stat()
        all_may_write = status.st_mode & stat.S_IWOTH
        foreign = status.st_uid not in _trusted()
        if all_may_write and (foreign or not status.st_mode & stat.S_ISVTX):
            return f"everybody can write to {parent}" + (", which belongs to another user" if foreign else "")
    return None


@cache
def _trusted() -> set[int]:
    """Root, by the number that root's files show here, and ourselves.

    In a container that a user may start, root has no number, and what is root's shows that of nobody
    (user_namespaces(7)).
    """
    return {Path("/proc/sys").stat().st_uid, os.geteuid()}


def owned_directory(path: Path) -> bool:
    """Whether ``path`` is a directory, no link, of this user, and not writable by anybody else."""
    try:
        info = path.lstat()
    except OSError:
        return False
    others = stat.S_IWOTH if _private_group(info.st_gid) else stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & others


def temporary(environment: Mapping[str, str], own: Path) -> Path:
    """The TMPDIR of a session's programs: its ``own``, unless only this user can write to that of the ``environment``.

    That stays: the job may have put files there.
    """
    found = environment.get("TMPDIR")
    return Path(found) if found and owned_directory(Path(found)) else own


def _private_group(gid: int) -> bool:
    """Whether the group is this user's alone, as where the umask is 002 and each user has a group."""
    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def distrust(path: Path) -> str | None:
    """Why another user could have put something else at ``path``; None when only root and we could.

    Every directory on the way is looked at, also those that symbolic links lead through. A sticky
    directory that all may write to (/tmp) is passed only on the way to something that is ours or
    root's, which others can neither remove nor rename there.
    """
    pending = list(reversed(path.absolute().parts[1:]))
    here, links = Path("/"), 0
    while True:
        status = here.lstat()
        if status.st_uid not in _trusted():
            return f"{here} belongs to another user"
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MOST_LINKS:
                return f"{here} has too many symbolic links"
            target = here.readlink()
            pending.extend(reversed([part for part in target.parts if part != "/"]))
            here = Path("/") if target.is_absolute() else here.parent
            continue
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and pending
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
            return f"{here} can be written by others"
        if not pending:
            return None
        part = pending.pop()
        here = here.parent if part == ".." else here / part

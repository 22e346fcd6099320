"""A small file system for a session directory, in a mount namespace that an unprivileged user may make."""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, launch
from tests.support.running import RunningSession


@dataclass(frozen=True)
class SmallDisk:
    """A session whose directory is alone on a small file system, seen from outside at ``path``."""

    session: RunningSession
    path: Path

    def fill(self) -> None:
        """Take every byte and every inode."""
        try:
            with (self.path / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            pass
        try:
            for number in range(100_000):
                (self.path / f"filler-{number}").touch()
        except OSError:
            return
        raise AssertionError("the file system takes everything")

    def make_room(self) -> None:
        """Give all of it back."""
        for path in self.path.glob("filler*"):
            path.unlink()


@contextmanager
def small_disk(at: Place, app: str, *arguments: str, options: str) -> Iterator[SmallDisk]:
    """A session with its directory on a tmpfs with these mount options; ended afterwards."""
    _need_user_namespaces()
    mounted, holder_file = at.root / "disk", at.root / "holder"
    mounted.mkdir()
    os.chown(mounted, user_of_tests().uid, user_of_tests().gid)
    user = user_of_tests()
    # The file system stays for as long as the holder sleeps, so that the end can be looked at.
    inner = (
        f"mount -t tmpfs -o mode=700,{options} none {shlex.quote(str(mounted))} || exit 99\n"
        f"setsid sleep 600 >&- 2>&- & echo $! >{shlex.quote(str(holder_file))}\n"
        f'exec unshare -U --map-user={user.uid} --map-group={user.gid} "$@"'
    )
    shell = f'set -- unshare -Urm sh -c {shlex.quote(inner)} sh "$@"'
    session = launch(at, app, *arguments, directory=mounted / "session", shell=shell)
    holder = int(session.wait_for(lambda: _text(holder_file), "a small disk", 10))
    path = Path(f"/proc/{holder}/root{mounted}")
    session.directory = path / "session"
    try:
        yield SmallDisk(session, path)
        session.stop()
        session.assert_nothing_left()
    finally:
        session.kill_remains()
        os.kill(holder, signal.SIGKILL)


def _need_user_namespaces() -> None:
    done = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False, capture_output=True, **user_of_tests().identity(),
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"needs a kernel that lets users make namespaces: {done.stderr.decode().strip()}")


def _text(path: Path) -> str | None:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("\n") else None

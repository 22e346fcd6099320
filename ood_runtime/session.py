"""The session directory: private, written whole or not at all, used by one session at a time.

Also what a killed session has left there: its processes, its secrets and its scratch space are cleared
before another one starts.
"""

import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

from ood_runtime import lock, processes, published
from ood_runtime.errors import SessionError
from ood_runtime.plan import DRIVERS, Directories, File
from ood_runtime.private_files import owned_directory, private_directory, swappable, temporary, write

CONNECTION = "connection.yml"
STATUS = "status.json"
EVENTS = "events.jsonl"
PRIVATE = "ood-runtime"
_RECORD = "session.json"
_LOCK = "lock"
_STOP = "stop"
_SECRETS = "secrets.json"
# The longest path of a socket that we make below ``sockets`` is a kernel's: kernel-UUID-ipc-5.
_LONGEST_SOCKET = len("/jupyter/kernel-00000000-0000-0000-0000-000000000000-ipc-5")
_SOCKET_LIMIT = 107  # bytes, unix(7)


@dataclass(frozen=True)
class Record:
    """What a session writes down about itself, so that others can find it and clear up after it."""

    id: str
    app: str
    host: str
    boot: str
    pid: int
    started_at: int | None
    outside: tuple[str, ...] = field(default=())


class Session:
    """A session directory in use. Leaving the context erases the secrets and the scratch space."""

    def __init__(self, directory: Path, app: str, scratch_base: Path, local_bases: Sequence[Path] = ()) -> None:
        self.id = secrets.token_hex(16)
        self.root = directory
        self._app = app
        self._scratch_base, self._local_bases = scratch_base, local_bases
        self._secret_files: list[str] = []
        self._lock = -1
        self.notices: list[str] = []

    def __enter__(self) -> "Session":
        try:
            self._open()
        except OSError as error:
            self.close()
            raise _unusable(self.root, error) from error
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        if os.pathsep in str(self.root):
            raise SessionError(
                f"{self.root} has a colon in its name, at which search paths are cut",
                remedy="name another directory with --session-dir",
            )
        for path in (self.root, self._scratch_base):
            if reason := swappable(path):
                raise SessionError(
                    f"{path} is no safe place: {reason}, and could put another directory there",
                    remedy="use a directory below your home, or below one where only you can write",
                )
        private_directory(self.root, parents=True)
        private_directory(self.root / PRIVATE)
        self._lock = _take_lock(self.root)
        self.notices += clear(self.root)
        private_directory(self.root / "logs")
        scratch, *local = (_make(base) for base in (self._scratch_base, *self._local_bases))
        sockets = scratch
        if len(os.fsencode(scratch)) + _LONGEST_SOCKET > _SOCKET_LIMIT:
            sockets = _make("/tmp")  # noqa: S108  (a private directory is made there)
        private, logs = self.root / PRIVATE, self.root / "logs"
        self.directories = Directories(self.root, private, logs, scratch, sockets, tuple(local))
        private_directory(self.directories.temporary)
        self._write_record()

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The job's ``environment`` as this session's programs get it: marked, and with a temporary directory."""
        return {
            **environment,
            processes.MARK: self.id,
            "TMPDIR": str(temporary(environment, self.directories.temporary)),
        }

    def _write_record(self) -> None:
        record = Record(
            id=self.id,
            app=self._app,
            host=socket.gethostname(),
            boot=_boot(),
            pid=os.getpid(),
            started_at=processes.started_at(os.getpid()),
            outside=tuple(sorted(map(str, self.directories.outside))),
        )
        # The list of secrets says, as long as it is there, that the session did not end in order.
        write(self.root / PRIVATE / _SECRETS, "[]")
        write(self.root / PRIVATE / _RECORD, json.dumps(asdict(record)))

    def write(self, files: Iterable[File], directories: Iterable[Path] = ()) -> None:
        """Write what a plan asks for into the private directory, each file whole or not at all.

        Raises SessionError when the directory takes no more (a full disk, a quota).
        """
        files = tuple(files)
        private = self.root / PRIVATE
        self._secret_files = [file.name for file in files if file.secret]
        try:
            # The list goes first: what is listed and was never written does no harm, the reverse would.
            write(private / _SECRETS, json.dumps(self._secret_files))
            for directory in directories:
                private_directory(directory, parents=True)
            for file in files:
                private_directory((private / file.name).parent, parents=True)
                write(private / file.name, file.content, 0o700 if file.executable else 0o600)
        except OSError as error:
            raise _unusable(self.root, error) from error

    def close(self) -> None:
        """Erase the secrets and the scratch space. Nothing that fails here keeps the rest from going on."""
        if hasattr(self, "directories"):
            erase(self.root)
            for path in self.directories.outside:
                shutil.rmtree(path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read_record(directory: Path) -> Record:
    """The record of the session that runs, or last ran, in ``directory``.

    Raises SessionError when there is none, or when it belongs to somebody else.
    """
    path = directory / PRIVATE / _RECORD
    if path.parent.exists() and not (owned_directory(directory) and owned_directory(path.parent)):
        raise SessionError(f"{directory} is not a session directory of yours that only you can write to")
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as file:
            data = json.load(file)
        return Record(**{**data, "outside": tuple(data["outside"])})
    except FileNotFoundError:
        raise SessionError(f"no session in {directory}", remedy="name its directory with --session-dir") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SessionError(f"{path} cannot be read: {error}") from error


def running(directory: Path) -> bool:
    """Whether a session runs in ``directory`` now: its supervisor holds the lock, on whatever node."""
    held = lock.is_held(directory / PRIVATE / _LOCK)
    if held is None:  # this file system has no locks
        with suppress(SessionError):
            record = read_record(directory)
            return record.started_at is not None and processes.started_at(record.pid) == record.started_at
    return bool(held)


def ask_to_stop(directory: Path) -> None:
    """Leave word for the session in ``directory`` that it should end; works from any node."""
    write(directory / PRIVATE / _STOP, "")


def stop_asked(directory: Path) -> bool:
    """Whether somebody has asked the session in ``directory`` to end."""
    return (directory / PRIVATE / _STOP).exists()


def clear_after(directory: Path, identifier: str | None = None) -> list[str]:
    """Clear what the session that is over, or only the one called ``identifier``, left in ``directory``.

    Raises SessionError when another one has begun there.
    """
    descriptor = _take_lock(directory)
    try:
        if identifier and read_record(directory).id != identifier:
            raise SessionError(f"another session has begun in {directory}")
        return clear(directory)
    finally:
        os.close(descriptor)


def clear(directory: Path) -> list[str]:
    """Clear what a killed session left in ``directory``; the lock must be ours. Tells what was found."""
    notices = []
    connection = directory / CONNECTION
    killed = (directory / PRIVATE / _SECRETS).exists()
    if connection.is_symlink() or connection.exists():
        connection.unlink()  # first of all: who waits must not take it for the new session's
        if not killed:
            notices.append(
                f"removed a {CONNECTION} that this session did not write: if the portal's job script wrote it, "
                "it announced a session that was not ready; let `ood-runtime publish` write it"
            )
    try:
        record = read_record(directory)
    except SessionError:
        record = None
    if killed and record:
        notices += _clear_session(directory, record)
    elif killed:
        erase(directory)
    for name in (_STOP, _RECORD):
        (directory / PRIVATE / name).unlink(missing_ok=True)
    return notices


def _clear_session(directory: Path, record: Record) -> list[str]:
    notices = []
    if record.host == socket.gethostname() and record.boot == _boot():
        if left := processes.marked(record.id):
            processes.end(lambda: processes.marked(record.id), seconds=5)
            notices.append(f"ended {len(left)} processes of the session that was killed in this directory")
        for outside in map(Path, record.outside):
            if outside.name.startswith("ood-") and owned_directory(outside):
                shutil.rmtree(outside, ignore_errors=True)
    if erase(directory):
        notices.append("erased the secrets of the session that was killed in this directory")
    return notices


def erase(directory: Path) -> bool:
    """Remove connection.yml and every secret file in ``directory``; whether there was any."""
    private = directory / PRIVATE
    paths = [directory / CONNECTION, *(private / name for name in _secret_names(private))]
    found = False
    for path in paths:
        # Also what was being written when the session was killed.
        for part in (path, *path.parent.glob(f".{path.name}.*")):
            with suppress(OSError):
                part.unlink()
                found = True
    shutil.rmtree(private / DRIVERS, ignore_errors=True)
    published.withdraw(private)
    with suppress(OSError):
        (private / _SECRETS).unlink(missing_ok=True)
    return found


def _secret_names(private: Path) -> list[str]:
    """The names in the list of secrets, but none that leads out of the private directory."""
    try:
        names = json.loads((private / _SECRETS).read_text())
    except (OSError, ValueError):
        return []
    safe = (name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
    return [name for name in safe if not Path(name).is_absolute() and ".." not in Path(name).parts]


def _take_lock(directory: Path) -> int:
    descriptor = lock.take(directory / PRIVATE / _LOCK)
    if descriptor is None:
        raise SessionError(
            f"a session already runs in {directory}",
            remedy="end it with `ood-runtime stop`, or name another directory with --session-dir",
        )
    return descriptor


def _make(base: Path | str) -> Path:
    return Path(tempfile.mkdtemp(prefix="ood-", dir=base))


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _unusable(directory: Path, error: OSError) -> SessionError:
    return SessionError(
        f"cannot use the session directory {directory}: {error.strerror or error}",
        remedy="see that it exists, is yours and has room (`df`, `quota`), or name another with --session-dir",
    )

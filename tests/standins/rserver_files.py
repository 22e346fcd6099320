"""The files that the stand-in for rserver insists on, makes and gives rights to, release by release."""

import configparser
import os
import socket
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.standins.rserver_options import Options, RefusedError, configuration_directory

_FIXED = Path("/tmp")


@dataclass(frozen=True)
class Files:
    """What rserver has found or made. ``sessions`` has the sockets of R sessions."""

    cookie_key: bytes
    data: Path
    sessions: Path
    rpc_socket: Path | None
    _listener: socket.socket | None

    def close(self) -> None:
        """Give the socket back."""
        if self._listener:
            self._listener.close()


def prepare(options: Options) -> Files:
    """Everything in the order of rserver's start. Raises RefusedError or OSError with what is wrong."""
    _database(options)
    key = _key(_cookie_key_file(options))
    _session_rpc_key(options)
    data = Path(options.text("server-data-dir")) if options.since(1, 3) else _FIXED
    sessions, own = data / "rstudio-rsession", data / "rstudio-rserver"
    for path in (data, sessions, own) if options.since(1, 3) else (sessions, own):
        path.mkdir(parents=True, exist_ok=True)
        if path != own or not options.since(1, 3):
            path.chmod(0o1777)  # also where it is open to nobody else: what is above has to be closed
    if options.since(1, 3) and not options.since(1, 4):
        _revocations(options, data)
    rpc = own / "session-server-rpc.socket" if options.since(2022, 7) else None
    return Files(key, data, sessions, rpc, _bind(rpc) if rpc else None)


def _revocations(options: Options, data: Path) -> None:
    path = Path(options.text("auth-revocation-list-dir") or data) / "revocation-list"
    path.touch()
    path.chmod(0o600)


def _database(options: Options) -> None:
    if not options.since(1, 4):
        return
    named = options.text("database-config-file")
    path = Path(named) if named else configuration_directory(options.release) / "database.conf"
    if named and not path.exists():
        raise RefusedError(f"database configuration file {path} does not exist")
    settings = {"provider": "sqlite", "directory": "/var/lib/rstudio-server"}
    if path.exists():
        parser = configparser.RawConfigParser(comment_prefixes=("#",), delimiters=("=",))
        parser.read_string(f"[all]\n{path.read_text()}")
        settings |= dict(parser["all"])
    if settings["provider"] != "sqlite":
        raise RefusedError(f"unknown database provider {settings['provider']}")
    name = "rstudio-os.sqlite" if options.since(2021, 9) else "rstudio.sqlite"
    try:
        Path(settings["directory"]).mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(Path(settings["directory"]) / name)
        connection.execute("CREATE TABLE IF NOT EXISTS revoked_cookie (expiration text, cookie_data text)")
        connection.commit()
        connection.close()
    except (OSError, sqlite3.Error) as error:
        raise RefusedError(f"database error 7 ({error})") from error


def _cookie_key_file(options: Options) -> Path:
    named = options.text("secure-cookie-key-file") if options.since(1, 2) else ""
    if named:
        return Path(named)
    return (_cache() if options.since(2022, 12) else _FIXED / "rstudio-server") / "secure-cookie-key"


def _session_rpc_key(options: Options) -> None:
    if not options.since(2022, 6):
        return
    name = "session-rpc-key"
    if not options.since(2022, 12):
        _key(_FIXED / "rstudio-server" / name)
        return
    if options.since(2026, 5):
        for path in (configuration_directory(options.release) / name, Path("/var/lib/rstudio-server") / name):
            if not path.exists():
                continue
            if os.access(path, os.R_OK):
                _key(path)
                return
            if not options.since(2026, 8):
                raise RefusedError(f"could not read {path}: Permission denied")
    _key(_cache() / name)


def _key(path: Path) -> bytes:
    """The key in a file, which is made where there is none. What is there must not be empty."""
    if path.exists():
        key = path.read_bytes()
        if not key:
            raise RefusedError(f"{path} is empty (No such file or directory)")
        if len(key) < 32:
            raise RefusedError(f"the key in {path} is too short")
        return key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(uuid.uuid4()))
    path.chmod(0o600)
    return path.read_bytes()


def _cache() -> Path:
    own, xdg = os.environ.get("RSTUDIO_CACHE_HOME"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else Path(xdg or Path.home() / ".cache") / "rstudio"


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    path.unlink(missing_ok=True)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise RefusedError(f"Unexpected exception: File name too long [system:36] ({error})") from error
    path.chmod(0o666)
    return listener

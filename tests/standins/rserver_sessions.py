"""What the stand-in for rserver does for R sessions: their environment, their arguments, their start, their requests.

The environment is built anew, as core/system/PosixSystem.cpp does: what it does not know is lost.
"""

import os
import pwd
import secrets
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.standins.rserver_files import Files
from tests.standins.rserver_options import Options, RefusedError

_COPIED = ("PATH", "MANPATH", "LANG")
# What newer releases hand on as well.
_COPIED_SINCE_2021 = (
    *("RSTUDIO_CONFIG_HOME", "RSTUDIO_CONFIG_DIR", "RSTUDIO_DATA_HOME", "RSTUDIO_DATA_DIR", "XDG_CONFIG_HOME"),
    *("XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS", "RS_LOGGER_TYPE", "RS_LOG_LEVEL", "RS_LOG_DIR"),
)
_OF_R_VERSIONS = ("RSTUDIO_R_MODULE", "RSTUDIO_R_PRELAUNCH_SCRIPT", "RSTUDIO_R_REPO", "RSTUDIO_R_VERSION_LABEL")


@dataclass(frozen=True)
class R:
    """The places of the R that was found when rserver started."""

    home: Path
    share: str
    include: str
    doc: str
    library: Path


class Sessions:
    """Starts a user's R session when the first request for it comes, and hands requests on to it."""

    def __init__(self, options: Options, files: Files, r: R) -> None:
        self._options, self._files, self._r = options, files, r
        self._shared_secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._started: subprocess.Popen[bytes] | None = None

    def request(self, user: str, body: bytes, secure: bool) -> bytes:
        """What the user's R session answers. Raises OSError when there is none in time."""
        deadline = time.monotonic() + self._options.number("rsession-proxy-max-wait-secs")
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._files.sessions / f"{user}-d"))
                break
            except OSError:
                connection.close()
                if time.monotonic() > deadline:
                    raise
            self._start(user, secure)
            time.sleep(0.02)
        with connection:
            connection.sendall(body)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def helper_environment(self) -> dict[str, str]:
        """What the helper that judges passwords sees: all that rserver has, and what it has set since."""
        own = {"R_HOME": "", "RS_SERVER_DATA_DIR": str(self._files.data), "RS_SESSION_TMP_DIR": "/tmp"}
        if self._files.rpc_socket:
            own["RS_SERVER_RPC_SOCKET_PATH"] = str(self._files.rpc_socket)
        return {**os.environ, **own}

    def _start(self, user: str, secure: bool) -> None:
        with self._lock:
            if self._started and self._started.poll() is None:
                return  # it takes its time
            if self._options.since(2021, 9) and user != pwd.getpwuid(os.getuid()).pw_name:
                raise PermissionError(f"Operation not permitted: a session of {user}")
            program = self._options.program("rsession-path")
            self._started = subprocess.Popen(
                [str(program), *self._arguments(user, secure)],
                env=self.environment(user),
                cwd="/",
                close_fds=True,
                process_group=0,
            )

    def _arguments(self, user: str, secure: bool) -> list[str]:
        options = self._options
        given = []
        if options.text("rsession-config-file"):
            given += ["--config-file", str(options.program("rsession-config-file"))]
        given += ["-u", user]
        if options.since(1, 3):
            given += ["--session-use-secure-cookies", str(int(secure))]
        if options.since(1, 4):
            given += ["--session-root-path", options.text("www-root-path"), "--session-same-site", "0"]
        if options.since(2022, 7):
            given += ["--session-use-file-storage", str(int(options.on("session-use-file-storage")))]
        if options.since(2026):
            given += ["--www-frame-origin", options.text("www-frame-origin")]
        if timeout := os.environ.get("RSTUDIO_SESSION_TIMEOUT"):
            given += ["--session-timeout-minutes", timeout]
        if options.on("auth-none"):
            given += ["--show-user-identity", "0"]
        return [*given, "--launcher-token", secrets.token_hex(4).upper()]

    def environment(self, user: str) -> dict[str, str]:
        """The environment of an R session; HOME is what the system knows, whatever HOME says here."""
        options, r = self._options, self._r
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            raise RefusedError(f"user {user} does not exist") from None
        own = _copied(_COPIED)
        own |= {"USER": user, "LOGNAME": user, "HOME": account.pw_dir, "SHELL": account.pw_shell or "/bin/sh"}
        own |= {"R_HOME": str(r.home), "R_SHARE_DIR": r.share, "R_INCLUDE_DIR": r.include, "R_DOC_DIR": r.doc}
        libraries = (str(r.library), os.environ.get("LD_LIBRARY_PATH"), options.text("rsession-ld-library-path"))
        own["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))
        own |= {"RSTUDIO_DEFAULT_R_VERSION": "4", "RSTUDIO_DEFAULT_R_VERSION_HOME": str(r.home)}
        own |= {"RSTUDIO_LIMIT_RPC_CLIENT_UID": str(os.getuid()), "RSTUDIO_MINIMUM_USER_ID": "100"}
        own |= {"RSTUDIO_VERSION": ".".join(map(str, options.release)), "RSTUDIO_REQUIRED_USER_GROUP": ""}
        own |= {"RS_MONITOR_SHARED_SECRET": self._shared_secret, "RS_SESSION_TMP_DIR": "/tmp"}
        own |= dict.fromkeys(_OF_R_VERSIONS, "")
        if options.since(1, 3):
            own["RS_SERVER_DATA_DIR"] = str(self._files.data)
        if options.since(2021, 9):
            own |= _copied(_COPIED_SINCE_2021)
        if self._files.rpc_socket:
            own |= {"RS_SERVER_RPC_SOCKET_PATH": str(self._files.rpc_socket), "RS_SESSION_RPC_SECRET": "x" * 32}
        return own


def _copied(names: tuple[str, ...]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}

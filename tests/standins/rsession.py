"""rsession of RStudio Server: one user's R session, with a real R, at a Unix socket.

Keeps to SessionMain.cpp where it matters to whoever starts it: unknown arguments are fatal; SIGUSR2 and SIGTERM suspend
it at once, SIGUSR1 when no code runs; a suspended session's workspace and environment come back with the next one, the
environment without ``environment_vars`` not; HOME and the directories for data are what the environment says.

Lacks everything that RStudio's pages ask of it but console_input, which here answers with what R has printed; the end
of a session that nobody uses; R in the same process: it is a child that reads a pipe, and ends with it; interactive().
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from tests.standins.rserver_options import Release

_ARGUMENTS = {
    *("-u", "--session-use-secure-cookies", "--session-root-path", "--session-same-site", "--launcher-token"),
    *("--config-file", "--session-timeout-minutes", "--r-restore-workspace", "--r-run-rprofile", "--r-libs-user"),
    *("--session-use-file-storage", "--www-frame-origin", "--show-user-identity"),
}
_END = "\x01end of output\x01"
_EVALUATE = (
    "tryCatch({{ .line <- withVisible(eval(parse(text = utils::URLdecode('{code}')), globalenv())); "
    "if (.line$visible) print(.line$value) }}, error = function(e) cat('Error:', conditionMessage(e), '\\n'), "
    "interrupt = function(e) cat('interrupted\\n')); "
    "cat('\\n', '{end}', '\\n', sep = ''); flush(stdout())\n"
)


def main(arguments: list[str], release: Release, _: Path) -> NoReturn:
    """Serve requests until a signal suspends the session."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if unknown := set(given) - _ARGUMENTS:
        sys.exit(f"rsession: unrecognised option '{min(unknown)}'")
    suspended = _data(release) / "sessions/active/session-00000001/suspended-session-data"
    _restore_environment(suspended)
    session = Session(suspended)
    for number, wait in ((signal.SIGUSR1, True), (signal.SIGUSR2, False), (signal.SIGTERM, False)):
        signal.signal(number, lambda *_, wait=wait: session.suspend(wait=wait))
    session.serve(_socket(given["-u"], release))


class Session:
    """A real R, which evaluates what it is given line by line."""

    def __init__(self, suspended: Path) -> None:
        self._suspended = suspended
        self._lock = threading.RLock()
        command = [os.environ["R_HOME"] + "/bin/R", "--no-save", "--no-restore", "--no-echo"]
        pipe = subprocess.PIPE
        self._r = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        if (suspended / "environment").exists():
            self.run(f"load({json.dumps(str(suspended / 'environment'))}, globalenv())")

    def run(self, code: str) -> str:
        """What R prints while it evaluates ``code``."""
        assert self._r.stdin
        with self._lock:
            self._r.stdin.write(_EVALUATE.format(code=quote(code), end=_END.replace("\x01", "\\001")))
            self._r.stdin.flush()
            output: list[str] = []
            while _END not in (line := self._said.get()):
                if not line:  # R has ended
                    self._said.put(line)
                    break
                output.append(line)
            return "".join(output).removesuffix("\n")

    def _listen(self) -> None:
        """Read all the time: what R has started, such as a JVM, must not wait until somebody gives R a line."""
        assert self._r.stdout
        for line in iter(self._r.stdout.readline, ""):
            self._said.put(line)
        self._said.put("")

    def serve(self, path: Path) -> NoReturn:
        """Answer each request with the output of its code."""
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def suspend(self, *, wait: bool) -> None:
        """Write down what R has in memory, and end."""
        if not self._lock.acquire(blocking=wait):
            self._r.send_signal(signal.SIGINT)  # whatever it computes
        self._suspended.mkdir(parents=True, exist_ok=True)
        self.run(f"save.image({json.dumps(str(self._suspended / 'environment'))})")
        variables = "".join(f"{name}={json.dumps(value)}\n" for name, value in os.environ.items())
        (self._suspended / "environment_vars").write_text(variables)
        assert self._r.stdin
        self._r.stdin.close()  # R ends, and removes its temporary directory
        self._r.wait()
        os._exit(0)

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            body = b"".join(iter(lambda: connection.recv(65536), b""))
            request = json.loads(body)
            result = self.run(request["params"][0]) if request["method"] == "console_input" else ""
            connection.sendall(json.dumps({"result": result}).encode())


def _restore_environment(suspended: Path) -> None:
    try:
        lines = (suspended / "environment_vars").read_text().splitlines()
    except FileNotFoundError:
        return
    for name, _, value in (line.partition("=") for line in lines):
        os.environ[name] = json.loads(value)


def _data(release: Release) -> Path:
    home = Path(os.environ["HOME"])
    if release < (1, 4):
        return home / ".rstudio"
    xdg = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
    return Path(os.environ.get("RSTUDIO_DATA_HOME") or Path(xdg, "rstudio"))


def _socket(user: str, release: Release) -> Path:
    base = Path(os.environ["RS_SERVER_DATA_DIR"]) if release >= (1, 3) else Path("/tmp")
    return base / "rstudio-rsession" / f"{user}-d"

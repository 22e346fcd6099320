"""rserver of RStudio Server, as whoever is not root starts it, of the release that it was installed as.

Keeps to what was measured with 1.4.1103 and to the source of the other releases, from 1.1 to 2026.08: unknown options
are fatal (``rserver_options``); it insists on its files, of which the older releases have some at fixed places in /tmp
(``rserver_files``); without a logger it ends without a word; who signs in, with which cookies and how often
(``rserver_web``); the environment, the arguments and the end of R sessions (``rserver_sessions``).

Lacks: RStudio's pages, of which ``/`` is one that runs a line of R; JSON-RPC other than console_input, and its events;
encrypted passwords, www-socket, TLS, origin checks, the proxy for ports of the node, the refreshing of cookies,
PostgreSQL, the list of signed-out cookies on disk, root.
"""

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.standins import rserver_options
from tests.standins.rserver_files import Files, prepare
from tests.standins.rserver_options import Options, RefusedError, Release
from tests.standins.rserver_sessions import R, Sessions
from tests.standins.rserver_web import Web

_PLACES = ("/usr/local/bin/R", "/usr/bin/R")
_ASK_R = 'cat(R.home(), R.home("share"), R.home("include"), R.home("doc"), sep = "\\n")'
_SESSIONS_END_WITHIN = 60  # seconds
_REPOSITORY = Path(__file__).parents[2]
# Unmoved by whatever the environment says to Python.
_PROGRAM = """\
#!{python} -IB
import pathlib, sys
sys.path.insert(0, {repository!r})
from tests.standins.{name} import main
sys.exit(main(sys.argv[1:], {release}, pathlib.Path({bin!r})))
"""


def main(arguments: list[str], release: Release, programs: Path) -> int:
    """Serve until a signal comes; 1 when something that it needs is not as it has to be."""
    if "--help" in arguments:
        sys.stdout.write(rserver_options.help_text(release))
        return 0
    log = _logger(release)
    try:
        options = rserver_options.parse(arguments, release, programs)
        _check_user(options)
        r = _find_r(options)
        os.chdir(options.text("server-working-dir"))
        if options.on("server-set-umask"):
            os.umask(0o022)
        files = prepare(options)
        sessions = Sessions(options, files, r)
        web = Web(options, files, sessions, log=log)
    except (RefusedError, OSError) as error:
        log(f"ERROR {error}")
        return 1
    _serve(options, files, web)
    return 0


def _serve(options: Options, files: Files, web: Web) -> None:
    """Until SIGTERM, SIGINT or SIGQUIT, of which rserver dies itself after it has seen to its sessions."""
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    web.start()
    number = signal.sigwait(signals)
    if options.since(2022, 12):
        _end_sessions(number)
    files.close()
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    os.kill(os.getpid(), number)


def _end_sessions(number: int) -> None:
    """Only its own children are told, and of those only what is called rsession."""
    told = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and (entry / "comm").read_text() == "rsession\n":
                os.kill(int(entry.name), number)
                told.append(int(entry.name))
    deadline = time.monotonic() + _SESSIONS_END_WITHIN
    while told and time.monotonic() < deadline:
        told = [pid for pid in told if not _ended(pid)]
        time.sleep(0.02)


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _check_user(options: Options) -> None:
    if options.since(2021, 9):
        wanted, own = options.text("server-user"), pwd.getpwuid(os.getuid()).pw_name
        if wanted != own:
            raise RefusedError(f"Attempt to run server as user '{wanted}' from account '{own}' without privilege")


def _find_r(options: Options) -> R:
    """The R of the sessions, which is run to learn of its places."""
    named = os.environ.get("RSTUDIO_WHICH_R") or options.text("rsession-which-r")
    on_path = subprocess.run(["/bin/sh", "-c", "command -v R"], capture_output=True, text=True, check=False).stdout
    candidates = [named] if named else [on_path.strip(), *_PLACES]
    command = next((place for place in candidates if place and os.access(place, os.X_OK)), None)
    if command is None:
        raise RefusedError("Unable to find an installation of R on the system")
    clean = {name: value for name, value in os.environ.items() if name != "R_HOME"}
    asked = subprocess.run(
        [command, "--vanilla", "--no-echo", "-e", _ASK_R], env=clean, capture_output=True, text=True, check=False
    )
    lines = asked.stdout.splitlines()
    if asked.returncode or len(lines) != 4:
        raise RefusedError(f"Error running R ({command}): {asked.stderr}")
    home = Path(lines[0])
    library = next((home / name for name in ("lib", "lib64") if (home / name / "libR.so").exists()), None)
    if library is None:
        raise RefusedError(f"R shared library ({home}/lib/libR.so) not found. R must be built with --enable-R-shlib")
    return R(home, lines[1], lines[2], lines[3], library)


def _logger(release: Release) -> Callable[[str], None]:
    """Where the log goes: to syslog, which is nowhere here, unless rserver is told otherwise."""
    configured = rserver_options.configuration_directory(release) / "logging.conf"
    lines = configured.read_text().split() if release >= (1, 4) and configured.exists() else []
    kind = next((line.partition("=")[2] for line in lines if line.startswith("logger-type=")), "syslog")
    if release >= (2021, 9):
        kind = os.environ.get("RS_LOGGER_TYPE", kind)

    def log(message: str) -> None:
        if kind == "stderr":
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} [rserver] {message}", file=sys.stderr, flush=True)

    return log


def install(place: Path, release: Sequence[int]) -> Path:
    """Install the stand-in of a ``release`` in ``place``; the directory of its programs."""
    programs = place / "bin"
    programs.mkdir(parents=True)
    (place / "VERSION").write_text(".".join(map(str, release)) + "\n")
    for name in ("rserver", "rsession"):
        path = programs / name
        path.write_text(
            _PROGRAM.format(
                python=sys.executable, repository=str(_REPOSITORY), name=name, release=tuple(release), bin=str(programs)
            )
        )
        path.chmod(0o755)
    return programs

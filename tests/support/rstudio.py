"""An rserver as a test starts it, and a client that signs in with the portal's form and lets R compute."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from ood_runtime import ports
from tests.standins.rserver import install
from tests.standins.rserver_options import Release, known
from tests.support.needs import need

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0 Safari/537.36"
TOKENS = ("csrf-token", "rs-csrf-token")
ANSWERS_WITHIN = 30.0  # seconds


@dataclass
class RStudioClient:
    """What a browser has after the portal's form was sent to ``url``, which ends with a slash."""

    url: str
    http: requests.Session = field(default_factory=requests.Session)

    def sign_in(self, user: str, password: str, cookies: str | None = None, **fields: str) -> str:
        """Send the form; "" when we are in, else rserver's number of the reason.

        ``cookies`` is the header of a browser that has others than the portal's page has just set.
        """
        token = fields.pop("token", "portal-token")
        form = {"username": user, "password": password, "staySignedIn": "1", "appUri": "", **fields}
        headers = {"User-Agent": BROWSER, "Cookie": cookies or "; ".join(f"{name}={token}" for name in TOKENS)}
        answer = self.http.post(
            f"{self.url}auth-do-sign-in",
            {**dict.fromkeys(TOKENS, token), **form},
            headers=headers,
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code == 302, answer.text
        error = parse_qs(urlsplit(answer.headers["Location"]).query).get("error", [""])[0]
        assert bool(error) != ("user-id" in answer.cookies)
        self.http.cookies.update(answer.cookies)
        return error

    def page(self, path: str = "") -> requests.Response:
        """A page as a browser asks for it, without following it elsewhere."""
        return self.http.get(f"{self.url}{path}", headers={"User-Agent": BROWSER}, allow_redirects=False, timeout=60)

    def run(self, code: str) -> str:
        """What the R session prints for a line of code, which starts the session when there is none."""
        token = next(value for name in reversed(TOKENS) if (value := self.http.cookies.get(name)))
        answer = self.http.post(
            f"{self.url}rpc/console_input",
            json={"method": "console_input", "params": [code]},
            headers={"X-RS-CSRF-Token": token, "X-CSRF-Token": token},
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["result"])

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()


@dataclass
class RServer:
    """An rserver that runs, and where it was installed."""

    place: Path
    port: int
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/"


def arguments(place: Path, release: Release, port: int, **options: object) -> list[str]:
    """What an rserver of a release needs to start as whoever is not root, with everything in ``place``."""
    (place / "database.conf").write_text(f"provider=sqlite\ndirectory={place}/database\n")
    wanted: dict[str, object] = {
        "www-address": "127.0.0.1",
        "www-port": port,
        "auth-none": 0,
        "auth-encrypt-password": 0,
        "auth-pam-helper-path": place / "helper",
        "auth-sign-in-throttle-seconds": 0,
        "rsession-path": place / "wrapper",
        "server-user": os.environ.get("USER", ""),
        "server-data-dir": place / "data",
        "secure-cookie-key-file": place / "secure-cookie-key",
        "database-config-file": place / "database.conf",
    }
    wanted |= {name.replace("_", "-"): value for name, value in options.items()}
    return [f"--{name}={value}" for name, value in wanted.items() if name in known(release)]


@contextmanager
def rserver(
    place: Path,
    release: Release,
    *,
    env: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    **options: Any,
) -> Iterator[RServer]:
    """A stand-in that was started with ``options`` over what it needs; it is killed afterwards. It may have ended."""
    need("R")
    programs = install(place / "rstudio", release)
    with ports.hold(["rstudio"], 20000, 60000) as held:
        port = held["rstudio"]
    config = place / "config"
    config.mkdir()
    (config / "logging.conf").write_text("[*]\nlogger-type=stderr\n")
    own = {"RSTUDIO_CONFIG_DIR": str(config), "XDG_CACHE_HOME": str(place / "cache"), "RS_LOGGER_TYPE": "stderr"}
    process = subprocess.Popen(
        [*prefix, str(programs / "rserver"), *arguments(place, release, port, **options)],
        env={**os.environ, **own, **(env or {})},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + ANSWERS_WITHIN
        while process.poll() is None and not ports.listeners(port):
            assert time.monotonic() < deadline, "rserver does not answer"
            time.sleep(0.02)
        yield RServer(place, port, process)
    finally:
        process.kill()
        for pid in sessions(place):
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=30)  # all of them have its standard error


def sessions(place: Path) -> list[int]:
    """The R sessions of the RStudio that is installed below ``place``."""
    program = f"{place}/rstudio/bin/rsession".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if program in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found

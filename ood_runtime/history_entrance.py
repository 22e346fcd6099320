"""The way in to a history server: a page that asks for the secret of this run."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tornado import httpserver, web

from ood_runtime import gateway_server
from ood_runtime.errors import SettingsError
from ood_runtime.forwarding import Forwarder, Target
from ood_runtime.gateway_probes import LOGIN
from ood_runtime.history_server import HistoryServer
from ood_runtime.secret import Secret

_LOOK_SECONDS = 0.5
_LOGIN_PAGE = "scripts/history_login.html"


@dataclass(frozen=True)
class Way:
    """Where people come in: at ``address`` and ``port`` of this node (0 is any), and below the path ``base``.

    Browsers send a cookie to every port of a host, those of other users too. Ours is sent to this path only: where it
    is ``hidden``, nobody who lacks it is told. ``url`` is what is before the path for a browser that comes through a
    portal; empty where it comes by itself.
    """

    address: str
    port: int
    base: str
    hidden: bool = True
    url: str = ""


class Entrance(gateway_server.Entrance):
    """A gateway that people come to without a button."""

    def _close(self) -> None:
        """Ask for the secret."""
        self.set_status(403)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'"
        self.set_header("Content-Security-Policy", policy)
        page = resources.files("ood_runtime").joinpath(_LOGIN_PAGE).read_text(encoding="utf-8")
        self.finish(page.replace("ACTION", f"{self._prefix}{self._login}"))


class HiddenEntrance(Entrance):
    """The same, at a path that is not told."""

    def prepare(self) -> None:
        """Answer nobody who does not know it."""
        if not f"{self.request.path}/".startswith(f"{self._prefix}/"):
            raise web.HTTPError(404)


@contextmanager
def opened(way: Way, secret: Secret, server: HistoryServer) -> Iterator[str]:
    """Open the way in, and give the address for a browser. Raises SettingsError when its port is taken."""
    target = Target("127.0.0.1", server.port, way.base, {"Authorization": server.authorization.reveal()})
    own: dict[str, Any] = {
        "secret": secret.reveal(),
        "prefix": way.base,
        "login": LOGIN,
        "forwarder": Forwarder(target),
    }
    handler = (r".*", HiddenEntrance if way.hidden else Entrance, own)
    # Quiet: the path of a request is secret.
    application = web.Application([handler], compress_response=False, log_function=lambda _: None)
    entrance = httpserver.HTTPServer(application)
    family = socket.AF_INET6 if ":" in way.address else socket.AF_INET
    try:
        listening = socket.create_server((way.address, way.port), family=family)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on port {way.port}: {error.strerror}", remedy="name another --port"
        ) from error
    listening.setblocking(False)
    entrance.add_socket(listening)
    try:
        yield f"{way.url or f'http://127.0.0.1:{listening.getsockname()[1]}'}{way.base}/"
    finally:
        entrance.stop()


async def until_end(process: "subprocess.Popen[bytes]") -> None:
    """Serve until the history server's ``process`` has ended by itself."""
    while process.poll() is None:
        await asyncio.sleep(_LOOK_SECONDS)

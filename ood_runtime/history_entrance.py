"""The way in to a history server: a page that asks for the secret of this run, at a path that only its owner knows."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

from tornado import httpserver, web

from ood_runtime import gateway_server
from ood_runtime.errors import SettingsError
from ood_runtime.forwarding import Forwarder, Target
from ood_runtime.history_server import HistoryServer
from ood_runtime.secret import Secret

_LOOK_SECONDS = 0.5
_LOGIN_PAGE = "scripts/history_login.html"


class Entrance(gateway_server.Entrance):
    """A gateway that a person comes to without a portal.

    Browsers send a cookie to every port of a host, those of other users too: ours is sent to our path only, which
    nobody who lacks it is told.
    """

    def initialize(self, secret: str, prefix: str, forwarder: Forwarder) -> None:
        """As the gateway."""
        super().initialize(secret, prefix, forwarder)
        self._base = prefix

    def prepare(self) -> None:
        """Answer nobody who does not know the path."""
        if not f"{self.request.path}/".startswith(f"{self._base}/"):
            raise web.HTTPError(404)

    def _close(self) -> None:
        """Ask for the secret."""
        self.set_status(403)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        policy = "default-src 'none'; form-action 'self'; frame-ancestors 'none'"
        self.set_header("Content-Security-Policy", policy)
        page = resources.files("ood_runtime").joinpath(_LOGIN_PAGE).read_text(encoding="utf-8")
        self.finish(page.replace("ACTION", f"{self._base}{gateway_server.LOGIN}"))


@contextmanager
def opened(port: int, base: str, secret: Secret, server: HistoryServer) -> Iterator[int]:
    """Open the way in on loopback, and give its port, which is ``port`` if that is not 0.

    Raises SettingsError when it is taken.
    """
    target = Target("127.0.0.1", server.port, base, {"Authorization": server.authorization.reveal()})
    own: dict[str, Any] = {"secret": secret.reveal(), "prefix": base, "forwarder": Forwarder(target)}
    entrance = httpserver.HTTPServer(web.Application([(r".*", Entrance, own)], compress_response=False))
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise SettingsError(f"cannot listen on port {port}: {error.strerror}", remedy="name another --port") from error
    listening.setblocking(False)
    entrance.add_socket(listening)
    try:
        yield listening.getsockname()[1]
    finally:
        entrance.stop()


async def until_end(process: "subprocess.Popen[bytes]") -> int:
    """Serve until the history server's ``process`` has ended by itself; its status."""
    while process.poll() is None:
        await asyncio.sleep(_LOOK_SECONDS)
    return process.returncode

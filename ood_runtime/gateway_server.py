"""The gateway: lets one person in to a web server of the session that a browser cannot open by itself.

    python -m ood_runtime.gateway_server FILE

FILE is what ``gateway`` writes. Whoever posts the secret gets it back as a cookie, which scripts cannot read; with that
the requests are forwarded. Nobody else learns more than that there is a page.
"""

import asyncio
import hmac
import json
import logging
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado import httpserver, netutil, web

from ood_runtime.forwarding import Forwarder, Target

COOKIE = "ood-runtime-gateway"
_CLOSED = Path(__file__).parent / "scripts" / "gateway_closed.html"
_LONGEST_REQUEST = 64 * 1024  # bytes


class Entrance(web.RequestHandler):
    """Everything that is asked for."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST")

    def initialize(self, secret: str, prefix: str, login: str, forwarder: Forwarder) -> None:
        """Know the secret, the path under which the portal's proxy reaches us, that of the login, and the target."""
        self._secret, self._prefix, self._login, self._forwarder = secret.encode(), prefix, login, forwarder

    def set_default_headers(self) -> None:
        """Say nothing of ourselves."""
        self.clear_header("Server")

    async def get(self) -> None:
        """Forward the owner's requests."""
        path, prefix = self._place()
        if self._knows_secret():
            await self._forwarder.forward(self, path, prefix)
        else:
            self._close()

    async def head(self) -> None:
        """As GET."""
        await self.get()

    def post(self) -> None:
        """Let the owner in: a form of the portal's card."""
        path, prefix = self._place()
        if path != self._login:
            raise web.HTTPError(405)
        if not self._is_secret(self.get_body_argument("secret", "")):
            self._close()
            return
        secure = self.request.headers.get("X-Forwarded-Proto") == "https"
        self.set_cookie(
            COOKIE, self._secret.decode(), path=self._prefix, httponly=True, samesite="Strict", secure=secure
        )
        self.set_status(303)
        self.set_header("Location", f"{prefix}/")
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say in one line what went wrong."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")

    def _place(self) -> tuple[str, str]:
        """The path as the target knows it, and what a redirect must have in front.

        A proxy that has taken our path away puts it in front of redirects; one that has left it leaves these, too.
        """
        uri = self.request.uri or "/"
        if uri == self._prefix or uri.startswith((f"{self._prefix}/", f"{self._prefix}?")):
            uri, prefix = uri[len(self._prefix) :], self._prefix
        else:
            prefix = ""
        return uri if uri.startswith("/") else f"/{uri}", prefix

    def _knows_secret(self) -> bool:
        cookies = ";".join(self.request.headers.get_list("Cookie")).split(";")
        pairs = (cookie.strip().partition("=") for cookie in cookies)
        return any(self._is_secret(value) for name, _, value in pairs if name == COOKIE)

    def _is_secret(self, value: str) -> bool:
        return hmac.compare_digest(value.encode("utf-8", "surrogateescape"), self._secret)

    def _close(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.finish(_CLOSED.read_bytes())


def application(settings: Mapping[str, Any]) -> web.Application:
    """The gateway that a file describes."""
    forwarder = Forwarder(Target(base=settings["prefix"], **settings["target"]))
    own = {name: settings[name] for name in ("secret", "prefix", "login")}
    return web.Application([(r".*", Entrance, {**own, "forwarder": forwarder})], compress_response=False)


async def serve(settings: Mapping[str, Any]) -> None:
    """Serve until cancelled."""
    context = None
    if settings.get("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*settings["tls"])
    server = httpserver.HTTPServer(application(settings), ssl_options=context, max_body_size=_LONGEST_REQUEST)
    server.add_sockets(netutil.bind_sockets(settings["port"], settings["address"]))
    try:
        await asyncio.Event().wait()
    finally:
        server.stop()
        await server.close_all_connections()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))

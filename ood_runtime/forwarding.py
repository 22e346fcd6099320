"""Hands the requests of a browser on to a web server of the session, with a header that the browser cannot have.

Runs in two places: in the gateway, and as a copy in Jupyter's own process. That one may have an older Python and
nothing of ours, so nothing but Tornado is imported, which is what Jupyter is made of.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tornado import httpclient, httputil, web
from tornado.simple_httpclient import SimpleAsyncHTTPClient

# RFC 9110, section 7.6.1: what concerns one connection only.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"}
_HOP_BY_HOP |= {"te", "trailer", "transfer-encoding", "upgrade"}
# The browser's own cookies and names are for those in front; and who forwards to Spark tells it in a property where
# it is: it would take what X-Forwarded-Context says for every page, those of applications too (UIUtils.uiRoot).
_WITHHELD = _HOP_BY_HOP | {"authorization", "content-length", "cookie", "expect", "host", "x-forwarded-context"}
_LISTEN = "0A"  # TCP_LISTEN in the kernel's tables, proc(5)
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
_LONGEST_ANSWER = 2**40  # bytes; it is passed on piece by piece


@dataclass(frozen=True)
class Target:
    """A web server of the same user on this node; ``headers`` are added to each request, and are secret.

    ``base`` is the path under which browsers see it: its own redirects may have it in front. With a ``certificate``,
    the name of a file, it speaks TLS, and no other one is trusted.
    """

    address: str
    port: int
    base: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: str = ""

    def url(self, path: str) -> str:
        """Where a path with its query, which begins with /, is asked for."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.certificate else ''}://{host}:{self.port}{path}"

    def trust(self) -> ssl.SSLContext | None:
        """Whom to trust there; what the certificate names does not matter, since it is the only one."""
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(self.certificate)
        return context


class Forwarder:
    """Forwards to one target."""

    def __init__(self, target: Target) -> None:
        self._target, self._trust = target, target.trust()
        self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=100, max_body_size=_LONGEST_ANSWER)

    async def forward(self, handler: web.RequestHandler, path: str, prefix: str) -> None:
        """Answer the request of ``handler`` with what the target answers at ``path``, which begins with /.

        ``prefix`` is put in front of redirects; it is empty where a proxy in front does that.
        """
        if not listener_is_ours(self._target.port):
            # Whoever has taken the port of a server that has ended must not get its header.
            raise web.HTTPError(502, reason="What is behind this page does not run")
        passing = _Passing(handler, self._target.base, prefix)
        request = httpclient.HTTPRequest(
            self._target.url(path),
            method=handler.request.method or "GET",
            headers=_passed_on(handler.request.headers, self._target.headers),
            body=handler.request.body or None,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
            ssl_options=self._trust,
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_ANSWER_SECONDS,
            header_callback=passing.header,
            streaming_callback=passing.chunk,
        )
        try:
            await self._client.fetch(request, raise_error=False)
        except (OSError, httpclient.HTTPError) as error:
            passing.fail(error)
        else:
            if not passing.begun:
                passing.fail(OSError("no answer"))


class _Passing:
    """An answer on its way from the target to the browser."""

    def __init__(self, handler: web.RequestHandler, base: str, prefix: str) -> None:
        self._handler, self._base, self._prefix = handler, base, prefix
        self._headers = httputil.HTTPHeaders()
        self._line = ""
        self.begun = False

    def header(self, line: str) -> None:
        """Take the first line, a header, or the empty line after the last one."""
        text = line.rstrip("\r\n")
        if text.startswith("HTTP/"):
            self._line = text
        elif text:
            name, _, value = text.partition(":")
            self._headers.add(name, value.strip())
        else:
            self._begin()

    def chunk(self, data: bytes) -> Awaitable[None]:
        """Take a piece of the body; a newer Tornado waits until the browser has it."""
        self._handler.write(data)
        return self._handler.flush()

    def fail(self, error: Exception) -> None:
        """Say that there will be no answer; or break off the one that was begun."""
        if not self.begun:
            raise web.HTTPError(502, f"{error}", reason="What is behind this page does not answer")
        self._handler.request.connection.close()  # type: ignore[union-attr]

    def _begin(self) -> None:
        status = httputil.parse_response_start_line(self._line)
        self._handler.set_status(status.code, status.reason or None)
        self._handler.clear_header("Content-Type")
        for name in {name for name, _ in self._headers.get_all() if name.lower() not in _HOP_BY_HOP}:
            for number, value in enumerate(self._headers.get_list(name)):
                put = self._handler.add_header if number else self._handler.set_header
                put(name, redirect(value, self._base, self._prefix) if name == "Location" else value)
        self.begun = True
        self._handler.flush()


def redirect(location: str, base: str, prefix: str) -> str:
    """Where a redirect of the target leads to for the browser: never to another host."""
    scheme, host, path, query, fragment = urlsplit(location)
    if not (scheme or host or path.startswith("/")):
        return location
    while path == base or path.startswith(
        f"{base}/"
    ):  # the master of Spark 4 puts it before those of applications again
        path = path[len(base) :]
    # One slash only: two would name a host.
    return urlunsplit(("", "", f"{prefix}/{path.lstrip('/')}", query, fragment))


def listener_is_ours(port: int) -> bool:
    """Whether somebody listens on ``port`` of this node, and nobody but this user."""
    owners = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue  # a node without IPv6
        fields = (line.split() for line in lines)
        owners |= {int(of[7]) for of in fields if of[3] == _LISTEN and of[1].endswith(f":{port:04X}")}
    return owners == {os.getuid()}


def _passed_on(headers: httputil.HTTPHeaders, more: Mapping[str, str]) -> httputil.HTTPHeaders:
    passed = httputil.HTTPHeaders()
    for name, value in headers.get_all():
        if name.lower() not in _WITHHELD:
            passed.add(name, value)
    for name, value in more.items():
        passed[name] = value
    return passed

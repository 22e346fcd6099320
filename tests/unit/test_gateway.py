"""The gateway, with a small real server behind it: who gets in, what is passed on, where redirects lead."""

import ast
import asyncio
import http.client
import http.server
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest

from ood_runtime import forwarding, gateway_server, ports
from ood_runtime.forwarding import redirect
from ood_runtime.gateway_probes import LOGIN, GatewayEntrance, PageBehindLogin
from ood_runtime.secret import Secret

PREFIX = "/rnode/node1/20006"
SECRET = "gEntryEntryEntryEntryEntryEntryE"
PAGE = b"a page\n" * 100_000
OWNER = {"Cookie": f"theirs=1; {gateway_server.COOKIE}={SECRET}"}


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}{PREFIX}/jobs/?id=1")
            self.send_header("Content-Length", "0")
        elif self.path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "100")
        else:
            body = PAGE if self.path == "/page" else json.dumps(dict(self.headers)).encode()
            self.send_response(404 if self.path == "/none" else 200)
            self.send_header("X-Seen-Path", self.path)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Keep-Alive", "timeout=5")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)
            return
        self.end_headers()
        if self.path == "/half":
            self.wfile.write(b"half")
            self.connection.shutdown(socket.SHUT_RDWR)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Gateway:
    """A gateway that runs; what it serves, it asks for at ``target``."""

    port: int
    target: int

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def log_in(self, secret: str, at: str = "", **headers: str) -> http.client.HTTPResponse:
        form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.ask(f"{at}{LOGIN}", "POST", form, urlencode({"secret": secret}))[0]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, args=(0.01,)).start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    target = {"address": "127.0.0.1", "port": backend.server_port, "headers": {"Authorization": "Bearer token"}}
    listens = {"address": "127.0.0.1", "port": port, "prefix": PREFIX, "login": LOGIN}
    loop = asyncio.new_event_loop()
    task = loop.create_task(gateway_server.serve({**listens, "secret": SECRET, "target": target}))
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    while not ports.listeners(port):
        pass
    yield Gateway(port, backend.server_port)
    loop.call_soon_threadsafe(task.cancel)
    thread.join()
    loop.close()
    backend.shutdown()
    backend.server_close()


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        gateway_server.COOKIE,
        f"{gateway_server.COOKIE}=",
        f"{gateway_server.COOKIE}={SECRET[:-1]}",
        f"{gateway_server.COOKIE}={SECRET}x",
        f"{gateway_server.COOKIE}=é",
        f"other={SECRET}",
        SECRET,
    ],
)
@pytest.mark.parametrize("path", ["/", "/page", f"{PREFIX}/page", PREFIX, f"{PREFIX}/ood-runtime/login", "//page"])
def test_without_the_secret_there_is_nothing_but_an_explanation(gateway: Gateway, path: str, cookie: str) -> None:
    for method in ("GET", "HEAD"):
        answer, body = gateway.ask(path, method, {"Cookie": cookie.encode().decode("latin-1")})
        assert answer.status == 403
        assert b"a page" not in body
        assert answer.headers["Server"] is None
    assert b"press the button on the session's card" in gateway.ask(path)[1]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(gateway: Gateway, method: str) -> None:
    for headers in ({}, OWNER):
        assert gateway.ask("/jobs/job/kill/", method, headers)[0].status == 405


@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET.lower(), f"{SECRET} x", "é☃"])
def test_a_wrong_secret_gets_no_cookie(gateway: Gateway, secret: str) -> None:
    answer = gateway.log_in(secret)
    assert (answer.status, answer.headers["Set-Cookie"], answer.headers["Location"]) == (403, None, None)


@pytest.mark.parametrize(("proto", "secure"), [("http", False), ("https", True)])
@pytest.mark.parametrize("at", ["", PREFIX])
def test_the_secret_becomes_a_cookie_that_scripts_cannot_read(
    gateway: Gateway, at: str, proto: str, secure: bool
) -> None:
    answer = gateway.log_in(SECRET, at, **{"X-Forwarded-Proto": proto})
    (cookie,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert (answer.status, answer.headers["Location"]) == (303, f"{at}/")
    assert (cookie.key, cookie.value, cookie["path"]) == (gateway_server.COOKIE, SECRET, PREFIX)
    assert (cookie["httponly"], cookie["samesite"], bool(cookie["secure"])) == (True, "Strict", secure)


def test_the_owners_requests_are_passed_on(gateway: Gateway) -> None:
    for at in ("", PREFIX):
        answer, body = gateway.ask(f"{at}/page", headers=OWNER)
        assert (answer.status, body == PAGE) == (200, True)
        assert (answer.headers["X-Seen-Path"], answer.headers["Keep-Alive"]) == ("/page", None)
    assert gateway.ask("/none", headers=OWNER)[0].status == 404
    answer, body = gateway.ask("/page", "HEAD", OWNER)
    assert (answer.status, answer.headers["Content-Length"], body) == (200, str(len(PAGE)), b"")


@pytest.mark.parametrize("path", ["/a%20b%2525/c?d=e%20f&g", "/", "/@127.0.0.1:1/"])
def test_a_path_stays_as_it_is(gateway: Gateway, path: str) -> None:
    assert gateway.ask(f"{PREFIX}{path}", headers=OWNER)[0].headers["X-Seen-Path"] == path


def test_what_the_target_is_told(gateway: Gateway) -> None:
    own = {
        "Authorization": "Bearer x",
        "X-Forwarded-Context": "/elsewhere",
        "Accept-Encoding": "gzip",
        "Te": "trailers",
    }
    seen = json.loads(gateway.ask("/headers", headers={**OWNER, **own})[1])
    assert seen["Authorization"] == "Bearer token"
    assert seen["Accept-Encoding"] == "gzip"
    assert seen["Host"] == f"127.0.0.1:{gateway.target}"
    assert not {"Cookie", "X-Forwarded-Context", "Te"} & set(seen)


@pytest.mark.parametrize("at", ["", PREFIX])
def test_a_redirect_leads_inside(gateway: Gateway, at: str) -> None:
    """A proxy that takes the path away puts it in front of what comes back."""
    assert gateway.ask(f"{at}/redirect", headers=OWNER)[0].headers["Location"] == f"{at}/jobs/?id=1"


@pytest.mark.parametrize(
    ("location", "inside"),
    [
        ("http://h:1/", "/at/"),
        ("http://h:1", "/at/"),
        ("http://h:1/base/x?y#z", "/at/x?y#z"),
        ("/base", "/at/"),
        ("http://h/base/base/x", "/at/x"),
        ("/based/x", "/at/based/x"),
        ("//evil/x", "/at/x"),
        ("/base//evil/x", "/at/evil/x"),
        ("javascript:x", "/at/x"),
        ("x/", "x/"),
    ],
)
def test_redirects_stay_inside(location: str, inside: str) -> None:
    assert redirect(location, "/base", "/at") == inside


def test_an_answer_that_breaks_off_is_no_whole_one(gateway: Gateway) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        gateway.ask("/half", headers=OWNER)


def test_who_took_the_targets_port_gets_no_token(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    answer, body = gateway.ask("/headers", headers=OWNER)
    assert (answer.status, body) == (502, b"502: What is behind this page does not run\n")


def test_the_probes(gateway: Gateway) -> None:
    def page(path: str, secret: str = SECRET) -> PageBehindLogin:
        login, form = LOGIN, (("secret", Secret(secret)),)
        return PageBehindLogin("127.0.0.1", gateway.port, login, form, path)

    pids = [os.getpid()]
    assert GatewayEntrance("127.0.0.1", gateway.port, Secret(SECRET))(pids).ready
    wrong = GatewayEntrance("127.0.0.1", gateway.port, Secret("wrong2"))(pids)
    assert (wrong.ready, wrong.detail) == (False, "status 403; without the secret 403, with a wrong one 403")
    assert not GatewayEntrance("127.0.0.1", gateway.target, Secret(SECRET))(pids).ready
    assert page("/page")(()).ready
    assert page("/none")(()).detail == "/none: status 404, without login 403"
    assert page("/page", "wrong")(()).detail == "/page: status 403, without login 403"


def test_jupyters_python_needs_nothing_but_tornado_for_its_copy() -> None:
    """It may be older than ours: Jupyter Server 2 runs on Python 3.8."""
    tree = ast.parse(Path(forwarding.__file__).read_text(), feature_version=(3, 8))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"tornado"}

"""The stand-in for the portal does what is known of the real one's proxy."""

import http.client
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.portal import Portal
from tests.support.authority import Site

pytestmark = pytest.mark.e2e


class Backend(BaseHTTPRequestHandler):
    """Answers with what it was asked, in headers that a proxy has to rewrite."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"http://{self.headers['Host']}/elsewhere?a=b")
        self.send_header("Set-Cookie", "one=1; Domain=example.org; expires=Thu, 01 Jan 2099 00:00:00 GMT; Path=/")
        self.send_header("Set-Cookie", "two=2; HttpOnly")
        for name in ("Host", "Authorization", "X-Forwarded-Proto", "Origin"):
            self.send_header(f"Seen-{name}", str(self.headers[name]))
        self.send_header("Seen-Path", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the output is pytest's."""


@pytest.fixture
def backend(kind: str, short_tmp: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    if kind.startswith("secure"):
        Site(short_tmp)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(short_tmp / "cert.pem", short_tmp / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("kind", ["node", "rnode", "secure-node", "secure-rnode"])
def test_requests_and_answers_are_rewritten_as_by_open_ondemand(portal: Portal, backend: str, kind: str) -> None:
    place = f"/{kind}/{backend.replace(':', '/')}"
    client = http.client.HTTPConnection(portal.origin.removeprefix("http://"), timeout=20)
    headers = {"Authorization": "Bearer x", "Origin": portal.origin}
    client.request("GET", f"{place}/a%20b%2525/c?d=e%20f", headers=headers)
    answer = client.getresponse()
    client.close()

    assert answer.status == 302
    assert answer.headers["Seen-Path"] == f"{'' if kind.endswith('rnode') else place}/a%20b%2525/c?d=e%20f"
    assert answer.headers["Seen-Host"] == backend
    assert answer.headers["Seen-Authorization"] == "None"
    assert answer.headers["Seen-X-Forwarded-Proto"] == "http"
    assert answer.headers["Seen-Origin"] == portal.origin
    assert answer.headers["Location"] == f"{place if kind.endswith('rnode') else ''}/elsewhere?a=b"
    assert answer.headers.get_all("Set-Cookie") == [
        f"one=1; Path={place}; expires=Thu, 01 Jan 2099 00:00:00 GMT",
        f"two=2; Path={place}; HttpOnly",
    ]

"""A client of a Jupyter server: logs in with the password, as a browser does, and runs code in a kernel."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import requests
import websocket

Connection = dict[str, Any]
RUN_WITHIN = 180.0  # seconds; the kernel's websocket opens only when Spark is ready


def url_of(connection: Connection) -> str:
    """The server's address without the portal: http://HOST:PORT/node/HOST/PORT/, https where it has a certificate."""
    return f"http{'s' if 'certificate' in connection else ''}://{connection['host']}:{connection['port']}{connection['base_url']}"


@dataclass
class JupyterClient:
    """A logged-in client; close it when done."""

    connection: Connection
    http: requests.Session

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request below the server's base URL, with the XSRF header that a page's script would send."""
        headers = {"X-XSRFToken": str(self.connection["xsrf"])} | options.pop("headers", {})
        return self.http.request(method, url_of(self.connection) + path, headers=headers, timeout=60, **options)

    def start_kernel(self, name: str = "pyspark") -> str:
        """Start a kernel; its id."""
        answer = self.request("POST", "api/kernels", json={"name": name})
        assert answer.status_code == 201, f"{answer.status_code}: {answer.text}"
        return str(answer.json()["id"])

    def end_kernel(self, kernel: str) -> None:
        """End a kernel and wait until the server says so."""
        assert self.request("DELETE", f"api/kernels/{kernel}").status_code == 204

    def run(self, kernel: str, code: str, within: float = RUN_WITHIN) -> str:
        """Run one cell; what it printed and its result as text.

        Raises AssertionError with the kernel's traceback when the code fails.
        """
        request = uuid.uuid4().hex
        channels = self.channels(kernel, timeout=within)
        try:
            channels.send(json.dumps(_execute_request(request, code)))
            return _collect(channels, request)
        finally:
            channels.close()

    def channels(self, kernel: str, *, origin: str | None = None, timeout: float = 20.0) -> websocket.WebSocket:
        """The kernel's websocket; ``origin`` is what a page of another site would send; seconds."""
        return self._websocket(f"api/kernels/{kernel}/channels", origin, timeout)

    def type(self, line: str) -> websocket.WebSocket:
        """Type a line in a new terminal, which lives as long as what is given is open."""
        name = self.request("POST", "api/terminals").json()["name"]
        terminal = self._websocket(f"terminals/websocket/{name}", None, 20.0)
        terminal.send(json.dumps(["stdin", f"{line}\r"]))
        return terminal

    def _websocket(self, path: str, origin: str | None, timeout: float) -> websocket.WebSocket:
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.http.cookies)
        url = url_of(self.connection).replace("http", "ws", 1) + path
        trusted = {"ca_certs": self.connection.get("certificate")}
        return websocket.create_connection(url, timeout=timeout, cookie=cookies, origin=origin, sslopt=trusted)

    @staticmethod
    def send(channels: websocket.WebSocket, code: str) -> None:
        """Have one cell run, and do not wait for it."""
        channels.send(json.dumps(_execute_request(uuid.uuid4().hex, code)))

    def close(self) -> None:
        """Give the connections back."""
        self.http.close()


def log_in(connection: Connection, password: str | None = None) -> JupyterClient:
    """Log in through the form with the published password (or another) and XSRF value.

    Raises AssertionError when the server does not let us in.
    """
    http = requests.Session()
    http.trust_env = False  # which may name other authorities
    http.verify = str(connection["certificate"]) if "certificate" in connection else True
    xsrf = str(connection["xsrf"])
    answer = http.post(
        url_of(connection) + "login",
        data={"password": connection["password"] if password is None else password, "_xsrf": xsrf},
        cookies={"_xsrf": xsrf},
        allow_redirects=False,
        timeout=60,
    )
    if answer.status_code != 302:
        http.close()
        raise AssertionError(f"login answered {answer.status_code}")
    http.cookies.set("_xsrf", xsrf)
    return JupyterClient(connection, http)


def _execute_request(request: str, code: str) -> dict[str, object]:
    header = {
        "msg_id": request,
        "msg_type": "execute_request",
        "session": uuid.uuid4().hex,
        "username": "",
        "version": "5.3",
    }
    # Else the kernel may drop, without a word, the cell that comes next after an error.
    content = {"code": code, "silent": False, "allow_stdin": False, "stop_on_error": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}


def _collect(channels: websocket.WebSocket, request: str) -> str:
    """All output of the one cell that is running, until the kernel is idle again and has replied."""
    output = ""
    waiting = {"idle", "reply"}
    while waiting:
        message = json.loads(channels.recv())
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "stream":
            output += content["text"]
        elif kind in ("execute_result", "display_data"):
            output += content["data"].get("text/plain", "")
        elif kind == "error":
            raise AssertionError("\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            waiting.discard("idle")
        elif kind == "execute_reply":
            assert content["status"] != "aborted", "the kernel has dropped this cell"
            waiting.discard("reply")
    return output

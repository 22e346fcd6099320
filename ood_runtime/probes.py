"""The ways to prove that a service can be used. Each looks once and answers; none waits."""

import http.client
import json
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from ood_runtime import ports
from ood_runtime.secret import Secret
from ood_runtime.service import Answer

_SECONDS = 3.0  # what does not answer in this time is asked again


@dataclass(frozen=True)
class Always:
    """Ready as soon as it runs."""

    def __call__(self, pids: Collection[int]) -> Answer:
        """Yes."""
        return Answer(ready=bool(pids))


@dataclass(frozen=True)
class Listening:
    """The service's own processes, and nobody else, listen on all of ``ports``."""

    ports: tuple[int, ...]
    address: str = "127.0.0.1"

    def __call__(self, pids: Collection[int]) -> Answer:
        """Knock; where somebody opens, see in the kernel's table of sockets who. Reading that takes milliseconds."""
        missing = Answer(ready=True)
        for port in self.ports:
            found = ports.listeners(port) if ports.accepts(self.address, port) else []
            if not found:
                missing = Answer(ready=False, detail=f"port {port} is not open yet")
            elif not ports.ours(found, pids):
                return Answer(ready=False, detail=f"another program listens on port {port}", port_lost=True)
        return missing


@dataclass(frozen=True)
class JupyterLogin:
    """Jupyter answers at ``base_url``; it lets in who has the password, and nobody else."""

    address: str
    port: int
    base_url: str
    password: Secret

    def __call__(self, pids: Collection[int]) -> Answer:
        """Log in as the portal's form does, with a cookie and a field ``_xsrf`` of the same value."""
        answer = Listening((self.port,), self.address)(pids)
        if not answer.ready:
            return answer
        form = urlencode({"_xsrf": "probe", "password": self.password.reveal()})
        headers = {"Cookie": "_xsrf=probe", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            with closing(http.client.HTTPConnection(self.address, self.port, timeout=_SECONDS)) as server:
                version = _status(server, "GET", f"{self.base_url}api")
                stranger = _status(server, "GET", f"{self.base_url}api/contents?content=0")
                owner = _status(server, "POST", f"{self.base_url}login", form, headers)
        except (OSError, http.client.HTTPException) as error:
            return Answer(ready=False, detail=f"Jupyter does not answer yet: {error}")
        proven = (version, stranger, owner) == (HTTPStatus.OK, HTTPStatus.FORBIDDEN, HTTPStatus.FOUND)
        return Answer(
            ready=proven,
            detail="" if proven else f"status {version}, without login {stranger}, at login {owner}",
        )


@dataclass(frozen=True)
class SparkWorkers:
    """The Spark master is ALIVE and has ``wanted`` live workers, of the ``total`` that there will be.

    ``authorization`` is the header that its web UI demands.
    """

    address: str
    port: int
    authorization: Secret
    wanted: int
    total: int

    def __call__(self, pids: Collection[int]) -> Answer:
        """Ask the master; the token is for nobody who took its port."""
        found = ports.listeners(self.port) if ports.accepts(self.address, self.port) else []
        if not ports.same_user(found):
            return Answer(ready=False, detail="the Spark master does not answer yet", port_lost=bool(found))
        try:
            with closing(http.client.HTTPConnection(self.address, self.port, timeout=_SECONDS)) as master:
                master.request("GET", "/json/", headers={"Authorization": self.authorization.reveal()})
                response = master.getresponse()
                body = response.read()
            state = json.loads(body) if response.status == HTTPStatus.OK else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(ready=False, detail=f"the Spark master does not answer yet: {error}")
        alive = int(state.get("aliveworkers", 0))
        return Answer(
            ready=state.get("status") == "ALIVE" and alive >= self.wanted,
            detail=f"{alive} of {self.total} workers",
            workers=(alive, self.total),
        )


def _status(
    server: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: dict[str, str] | None = None,
) -> int:
    server.request(method, path, body, headers or {})
    response = server.getresponse()
    response.read()
    return response.status

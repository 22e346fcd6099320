"""The ways to prove that a service can be used. Each looks once and answers; none waits."""

import http.client
import json
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ood_runtime import pinned, ports, spark_trouble, worker_list
from ood_runtime.secret import Secret
from ood_runtime.service import Answer

_SECONDS = 3.0  # what does not answer in this time is asked again
_SIGN_IN_SECONDS = 20.0  # rserver starts a program for each sign-in
# Releases before 2022.02 compare the first cookie and field, later ones the second.
_CSRF = ("csrf-token", "rs-csrf-token")
_SIGNED_IN = "signed in"
# RStudio sends other programs to a page about browsers.
_BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
}


@dataclass(frozen=True)
class Listening:
    """The service's own processes, and nobody else, listen on all of ``ports``."""

    ports: tuple[int, ...]

    def __call__(self, pids: Collection[int]) -> Answer:
        """See who listens in the kernel's table of sockets.

        Nobody knocks: Jetty lets two wait at its door while it starts, and who comes third waits for a second
        (tcp(7): the kernel drops what a full queue cannot take).
        """
        missing = Answer(ready=True)
        for port in self.ports:
            found = ports.listeners(port)
            if not found:
                missing = Answer(ready=False, detail=f"port {port} is not open yet")
            elif not ports.ours(found, pids):
                return Answer(ready=False, detail=f"another program listens on port {port}", port_lost=True)
        return missing


@dataclass(frozen=True)
class JupyterLogin:
    """Jupyter answers at ``base_url``; it lets in who has the password, and nobody else.

    With a ``certificate`` in PEM it does so over TLS, and shows this one.
    """

    address: str
    port: int
    base_url: str
    password: Secret
    certificate: str = ""

    def __call__(self, pids: Collection[int]) -> Answer:
        """Log in as the portal's form does, with a cookie and a field ``_xsrf`` of the same value."""
        answer = Listening((self.port,))(pids)
        if not answer.ready:
            return answer
        form = urlencode({"_xsrf": "probe", "password": self.password.reveal()})
        headers = {"Cookie": "_xsrf=probe", "Content-Type": "application/x-www-form-urlencoded"}
        try:
            with closing(pinned.connection(self.address, self.port, _SECONDS, self.certificate)) as server:
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
class RStudioSignIn:
    """RStudio Server signs in ``user`` with the ``password``, and nobody with a ``wrong`` one or without any.

    With a ``certificate`` in PEM it does so over TLS, and shows this one.
    """

    address: str
    port: int
    user: str
    password: Secret
    wrong: Secret
    certificate: str = ""

    def __call__(self, pids: Collection[int]) -> Answer:
        """Sign in as the portal's form does, with the cookies and fields that each release compares."""
        answer = Listening((self.port,))(pids)
        if not answer.ready:
            return answer
        try:
            with closing(self._connection()) as server:
                page = _status(server, "GET", "/auth-sign-in", headers=_BROWSER)
                stranger = _status(server, "GET", "/", headers=_BROWSER)
            wrong, owner = self._sign_in(self.wrong), self._sign_in(self.password)
        except (OSError, http.client.HTTPException) as error:
            return Answer(ready=False, detail=f"RStudio does not answer yet: {error}")
        refused = stranger != HTTPStatus.OK and wrong != _SIGNED_IN
        return Answer(
            ready=page == HTTPStatus.OK and refused and owner == _SIGNED_IN,
            detail=""
            if page == HTTPStatus.OK and refused and owner == _SIGNED_IN
            else f"sign-in page {page}, without sign-in {stranger}, wrong password: {wrong}, right one: {owner}",
        )

    def _connection(self) -> http.client.HTTPConnection:
        return pinned.connection(self.address, self.port, _SIGN_IN_SECONDS, self.certificate)

    def _sign_in(self, password: Secret) -> str:
        """What becomes of a sign-in, in words."""
        fields = {"username": self.user, "password": password.reveal(), "staySignedIn": "0", "appUri": ""}
        form = urlencode({**fields, **dict.fromkeys(_CSRF, "probe")})
        cookies = "; ".join(f"{name}=probe" for name in _CSRF)
        headers = {**_BROWSER, "Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
        with closing(self._connection()) as server:
            server.request("POST", "/auth-do-sign-in", form, headers)
            response = server.getresponse()
            response.read()
        cookie = any(value.startswith("user-id=") for value in response.headers.get_all("Set-Cookie", ()))
        location = response.getheader("Location", "")
        if response.status == HTTPStatus.FOUND and cookie and "error=" not in location:
            return _SIGNED_IN
        return f"status {response.status}, {location or 'no Location'}"


@dataclass(frozen=True)
class MasterPage:
    """What the Spark master tells of itself, for who has the header that its web interface demands.

    With a ``certificate`` in PEM that interface is one of TLS, and shows this one.
    """

    address: str
    port: int
    authorization: Secret
    certificate: str = ""

    def read(self) -> dict[str, Any]:
        """Ask it; nothing where it refuses. Raises OSError, HTTPException or ValueError when there is no answer.

        The header is for nobody who took its port.
        """
        if not ports.same_user(ports.listeners(self.port)):
            # Until the session is ready the ports are held, and who takes one nevertheless is seen by the master's end.
            raise ConnectionError(f"port {self.port} is not open yet")
        with closing(pinned.connection(self.address, self.port, _SECONDS, self.certificate)) as master:
            master.request("GET", "/json/", headers={"Authorization": self.authorization.reveal()})
            response = master.getresponse()
            body = response.read()
        answer: dict[str, Any] = json.loads(body) if response.status == HTTPStatus.OK else {}
        return answer


@dataclass(frozen=True)
class SparkMaster:
    """The master takes workers. One that comes before is told to wait, and asks again only after 5 to 15 s."""

    listening: Listening
    page: MasterPage

    def __call__(self, pids: Collection[int]) -> Answer:
        """Ask it as soon as its own processes listen."""
        answer = self.listening(pids)
        if not answer.ready:
            return answer
        try:
            state = self.page.read().get("status")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(ready=False, detail=f"the Spark master does not answer yet: {error}")
        if state is None:
            return Answer(ready=False, detail="it does not tell its state yet")
        return Answer(ready=state != "STANDBY", detail="" if state == "ALIVE" else f"it is {state}")


@dataclass(frozen=True)
class SparkWorkers:
    """The Spark master is ALIVE and has ``wanted`` live workers, of the ``total`` that there will be.

    ``ranks`` are the workers that each service runs; in ``trouble`` a worker on another node leaves word when it has
    any.
    """

    page: MasterPage
    wanted: int
    total: int
    ranks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    trouble: Path | None = None

    def __call__(self, given_up: Collection[str]) -> Answer:
        """Ask the master, and those who left word of trouble."""
        troubles = spark_trouble.read(self.trouble) if self.trouble else {}
        failed = {rank: trouble.text for rank, trouble in troubles.items() if trouble.failed}
        for name in given_up:
            failed |= {rank: f"{name} has ended" for rank in self.ranks.get(name, ()) if rank not in failed}
        hopeless = ""
        if self.total - len(failed) < self.wanted:
            hopeless = f"{len(failed)} of {self.total} workers failed: " + "; ".join(sorted(set(failed.values()))[:3])
        try:
            state = self.page.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(ready=False, detail=f"the Spark master does not answer yet: {error}", hopeless=hopeless)
        alive, workers, active = (
            int(state.get("aliveworkers", 0)),
            state.get("workers", ()),
            state.get("activeapps", ()),
        )
        each = worker_list.each(workers, active)
        details = [f"{alive} of {self.total} workers", *worker_list.lost(each)]
        return Answer(
            ready=state.get("status") == "ALIVE" and alive >= self.wanted,
            detail="; ".join([*details, *(trouble.text for trouble in troubles.values() if not trouble.failed)][:5]),
            workers=(alive, self.total),
            each=each,
            applications=worker_list.applications(active),
            hopeless=hopeless,
            notices=(
                *(trouble.text for trouble in troubles.values() if trouble.failed),
                *worker_list.missed(workers, each, {rank for rank, trouble in troubles.items() if trouble.failed}),
            ),
        )


def reachable(address: str) -> str:
    """An address to ask at, for one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104


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

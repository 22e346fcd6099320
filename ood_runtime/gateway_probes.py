"""The ways to prove that a gateway, or a page behind a login, lets in the owner and nobody else."""

import http.client
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

from ood_runtime import pinned
from ood_runtime.probes import Listening
from ood_runtime.secret import Secret
from ood_runtime.service import Answer

LOGIN = "/ood-runtime/login"  # where a gateway takes the secret, below its path
_SECONDS = 3.0  # what does not answer in this time is asked again
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class GatewayEntrance:
    """A gateway lets in who has the ``secret``, and nobody else; over TLS where it has a ``certificate`` (in PEM)."""

    address: str
    port: int
    secret: Secret
    certificate: str = ""

    def __call__(self, pids: Collection[int]) -> Answer:
        """Come in as the portal's form does."""
        answer = Listening((self.port,))(pids)
        if not answer.ready:
            return answer
        try:
            with closing(pinned.connection(self.address, self.port, _SECONDS, self.certificate)) as server:
                stranger, _ = _ask(server, "GET", "/")
                wrong, _ = _ask(server, "POST", LOGIN, urlencode({"secret": "wrong"}), _FORM)
                owner, _ = _ask(server, "POST", LOGIN, urlencode({"secret": self.secret.reveal()}), _FORM)
        except (OSError, http.client.HTTPException) as error:
            return Answer(ready=False, detail=f"the gateway does not answer yet: {error}")
        proven = (stranger, wrong, owner) == (HTTPStatus.FORBIDDEN, HTTPStatus.FORBIDDEN, HTTPStatus.SEE_OTHER)
        detail = "" if proven else f"status {owner}; without the secret {stranger}, with a wrong one {wrong}"
        return Answer(ready=proven, detail=detail)


@dataclass(frozen=True)
class PageBehindLogin:
    """A page, at ``path``, that is only for who has logged in with ``form`` at ``login``.

    Over TLS where its server has a ``certificate`` (in PEM).
    """

    address: str
    port: int
    login: str
    form: tuple[tuple[str, Secret], ...]
    path: str
    certificate: str = ""

    def __call__(self, given_up: Collection[str]) -> Answer:
        """Log in, and ask for the page with the cookies that were given, and without."""
        fields = {name: value.reveal() for name, value in self.form}
        # Jupyter compares a field and a cookie of this name.
        headers = {**_FORM, "Cookie": "; ".join(f"{name}={fields[name]}" for name in fields if name.startswith("_"))}
        try:
            with closing(pinned.connection(self.address, self.port, _SECONDS, self.certificate)) as server:
                stranger, _ = _ask(server, "GET", self.path)
                _, cookies = _ask(server, "POST", self.login, urlencode(fields), headers)
                owner, _ = _ask(server, "GET", self.path, headers={"Cookie": "; ".join(cookies)})
        except (OSError, http.client.HTTPException) as error:
            return Answer(ready=False, detail=f"{self.path} does not answer: {error}")
        proven = owner == HTTPStatus.OK != stranger
        return Answer(ready=proven, detail="" if proven else f"{self.path}: status {owner}, without login {stranger}")


def _ask(
    server: http.client.HTTPConnection,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """The status of the answer, and the cookies that it sets."""
    server.request(method, path, body, headers or {})
    response = server.getresponse()
    response.read()
    return response.status, [value.partition(";")[0] for value in response.headers.get_all("Set-Cookie", ())]

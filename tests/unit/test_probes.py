"""The proofs that a service can be used, against small real servers."""

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import pytest

from ood_runtime.probes import JupyterLogin, Listening, MasterPage, RStudioSignIn, SparkMaster, SparkWorkers, reachable
from ood_runtime.secret import Secret

Answers = Callable[["Handler"], tuple[int, str]]
BASE = "/node/node1/20001/"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the test's function says."""

    answers: Answers
    cookie: str

    def do_GET(self) -> None:
        self.cookie = ""
        status, body = type(self).answers(self)
        self.send_response(status)
        if status == 302 and body:
            self.send_header("Location", body)
        if self.cookie:
            self.send_header("Set-Cookie", self.cookie)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], int]]:
    servers: list[http.server.HTTPServer] = []

    def serve(answers: Answers) -> int:
        handler = type("Handler", (Handler,), {"answers": staticmethod(answers)})
        servers.append(http.server.HTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,)).start()
        return int(servers[-1].server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def jupyter(*, version: int = 200, stranger: int = 403, password: str = "gright") -> Answers:
    """A server that checks what Jupyter checks: a cookie and a field `_xsrf` of the same value, and the password."""

    def answer(request: Handler) -> tuple[int, str]:
        if request.path == f"{BASE}api":
            return version, "{}"
        if request.path.startswith(f"{BASE}api/contents"):
            return stranger, ""
        if request.path == f"{BASE}login" and request.command == "POST":
            form = request.form()
            same = form["_xsrf"] == [request.headers["Cookie"].partition("_xsrf=")[2]]
            return (302, "") if same and form["password"] == [password] else (401, "")
        return 404, ""

    return answer


def login(port: int, pids: list[int] | None = None) -> tuple[bool, str, bool]:
    answer = JupyterLogin("127.0.0.1", port, BASE, Secret("gright"))([os.getpid()] if pids is None else pids)
    return answer.ready, answer.detail, answer.port_lost


def test_jupyter_lets_in_who_has_the_password_and_nobody_else(serve: Callable[[Answers], int]) -> None:
    assert login(serve(jupyter())) == (True, "", False)


@pytest.mark.parametrize(
    ("server", "detail"),
    [
        (jupyter(version=404), "status 404, without login 403, at login 302"),
        (jupyter(stranger=200), "status 200, without login 200, at login 302"),
        (jupyter(password="gwrong"), "status 200, without login 403, at login 401"),
    ],
)
def test_jupyter_that_is_not_as_it_should_be(serve: Callable[[Answers], int], server: Answers, detail: str) -> None:
    assert login(serve(server)) == (False, detail, False)


def test_a_jupyter_of_somebody_else_does_not_get_the_password(serve: Callable[[Answers], int]) -> None:
    asked: list[str] = []

    def remember(request: Handler) -> tuple[int, str]:
        asked.append(request.path)
        return 200, ""

    port = serve(remember)
    assert login(port, []) == (False, f"another program listens on port {port}", True)
    assert not asked


def rstudio(
    *, page: int = 200, stranger: int = 302, lets_in: tuple[str, ...] = ("gright",), cookie: bool = True
) -> Answers:
    """A server that checks what rserver checks: the cookies and fields of old releases and of new ones, and who."""

    def answer(request: Handler) -> tuple[int, str]:
        if request.command == "GET":
            return (page, "") if request.path == "/auth-sign-in" else (stranger, "")
        form = {name: values[0] for name, values in request.form().items()}
        cookies = dict(pair.split("=") for pair in request.headers["Cookie"].split("; "))
        for name in ("csrf-token", "rs-csrf-token"):
            if not cookies[name] or cookies[name] != form[name]:
                return 302, "/auth-sign-in?error=2"
        if form["username"] == "ada" and form["password"] in lets_in:
            request.cookie = "user-id=ada|x; path=/" if cookie else "csrf-token=x"
            return 302, "/"
        return 302, "/auth-sign-in?error=1"

    return answer


def sign_in(port: int, pids: list[int] | None = None, user: str = "ada") -> tuple[bool, str, bool]:
    probe = RStudioSignIn("127.0.0.1", port, user, Secret("gright"), Secret("gwrong"))
    answer = probe([os.getpid()] if pids is None else pids)
    return answer.ready, answer.detail, answer.port_lost


def test_rstudio_signs_in_who_has_the_password_and_nobody_else(serve: Callable[[Answers], int]) -> None:
    assert sign_in(serve(rstudio())) == (True, "", False)


@pytest.mark.parametrize(
    ("server", "detail"),
    [
        (rstudio(page=404), "sign-in page 404"),
        (rstudio(stranger=200), "without sign-in 200"),
        (rstudio(lets_in=("gright", "gwrong")), "wrong password: signed in"),
        (rstudio(lets_in=()), "right one: status 302, /auth-sign-in?error=1"),
        (rstudio(cookie=False), "right one: status 302, /"),
        (lambda request: (200, ""), "right one: status 200, no Location"),
    ],
)
def test_rstudio_that_is_not_as_it_should_be(serve: Callable[[Answers], int], server: Answers, detail: str) -> None:
    ready, said, lost = sign_in(serve(server))
    assert (ready, lost) == (False, False)
    assert detail in said


def test_rstudio_of_another_user_does_not_get_the_password(serve: Callable[[Answers], int]) -> None:
    asked: list[str] = []

    def remember(request: Handler) -> tuple[int, str]:
        asked.append(request.path)
        return 200, ""

    port = serve(remember)
    assert sign_in(port, []) == (False, f"another program listens on port {port}", True)
    assert not asked


def test_rstudio_that_breaks_off(serve: Callable[[Answers], int]) -> None:
    def leave(request: Handler) -> tuple[int, str]:
        raise ConnectionAbortedError

    ready, said, _ = sign_in(serve(leave))
    assert not ready
    assert said.startswith("RStudio does not answer yet")


def test_nobody_listens() -> None:
    answer = Listening((1,))([os.getpid()])
    assert (answer.ready, answer.port_lost) == (False, False)
    assert answer.detail == "port 1 is not open yet"


@pytest.mark.parametrize(
    ("state", "ready", "detail"),
    [("ALIVE", True, ""), ("RECOVERING", True, "it is RECOVERING"), ("STANDBY", False, "it is STANDBY")],
)
def test_a_master_that_takes_workers(serve: Callable[[Answers], int], state: str, ready: bool, detail: str) -> None:
    """One that stands by sends them away for 5 to 15 s."""
    port = serve(lambda request: (200, json.dumps({"status": state})))
    probe = SparkMaster(Listening((port,)), MasterPage("127.0.0.1", port, Secret("Bearer gtoken")))
    answer = probe([os.getpid()])
    assert (answer.ready, answer.detail, answer.port_lost) == (ready, detail, False)
    assert probe([]).port_lost, "what another program listens on gets no token"


def test_a_master_that_does_not_answer_yet(serve: Callable[[Answers], int]) -> None:
    port = serve(lambda request: (503, ""))
    answer = SparkMaster(Listening((port,)), MasterPage("127.0.0.1", port, Secret("Bearer gtoken")))([os.getpid()])
    assert (answer.ready, answer.detail) == (False, "it does not tell its state yet")


def test_who_took_the_port_of_its_page_gets_no_token(
    serve: Callable[[Answers], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the page is at another address than the one where the master was seen to listen."""
    asked: list[str] = []

    def remember(request: Handler) -> tuple[int, str]:
        asked.append(request.path)
        return 200, json.dumps({"status": "ALIVE"})

    port = serve(remember)
    monkeypatch.setattr("ood_runtime.ports.same_user", lambda found: False)
    answer = SparkMaster(Listening(()), MasterPage("127.0.0.1", port, Secret("Bearer gtoken")))([os.getpid()])
    assert (answer.ready, asked) == (False, [])


def spark(port: int, wanted: int = 2) -> tuple[bool, str, tuple[int, int] | None]:
    answer = SparkWorkers(MasterPage("127.0.0.1", port, Secret("Bearer gtoken")), wanted, 3)([])
    return answer.ready, answer.detail, answer.workers


@pytest.mark.parametrize(
    ("state", "alive", "ready"),
    [("ALIVE", 2, True), ("ALIVE", 3, True), ("ALIVE", 1, False), ("RECOVERING", 2, False), ("STANDBY", 2, False)],
)
def test_spark_has_the_workers(serve: Callable[[Answers], int], state: str, alive: int, ready: bool) -> None:
    def master(request: Handler) -> tuple[int, str]:
        if request.path != "/json/" or request.headers["Authorization"] != "Bearer gtoken":
            return 403, ""
        return 200, json.dumps({"status": state, "aliveworkers": alive})

    assert spark(serve(master)) == (ready, f"{alive} of 3 workers", (alive, 3))


@pytest.mark.parametrize("answer", [(403, ""), (200, "<html>"), (200, ""), (500, "{}")])
def test_a_master_that_does_not_answer_as_it_should(serve: Callable[[Answers], int], answer: tuple[int, str]) -> None:
    assert spark(serve(lambda request: answer))[0] is False


def test_no_master() -> None:
    ready, detail, workers = spark(1)
    assert not ready
    assert detail.startswith("the Spark master does not answer yet")
    assert workers is None


@pytest.mark.parametrize(
    ("listens", "asked"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7"), ("::1", "::1")]
)
def test_where_a_service_is_asked_that_listens_everywhere(listens: str, asked: str) -> None:
    assert reachable(listens) == asked

"""Looking at event logs afterwards: where they are, what is wrong where there are none, and who gets in."""

import asyncio
import http.server
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from ood_runtime import history_entrance, history_server
from ood_runtime.cli import history
from ood_runtime.errors import MissingError, OodRuntimeError, SessionError, SettingsError
from ood_runtime.history_entrance import Way
from ood_runtime.history_server import HistoryServer, find_logs
from ood_runtime.secret import Secret
from ood_runtime.service import Service
from ood_runtime.settings import Settings

BASE = "/0123456789abcdef"
SERVICE = Service("history-server", ("java",), 1)
PAGE = f'<a href="{BASE}/history/app-1/jobs/">app-1</a>'


@pytest.mark.parametrize("name", ["eventlog_v2_app-20261126-0000", "app-20261126-0000.zstd", "local-17.inprogress"])
def test_logs_are_found_in_a_session_and_in_a_directory_of_their_own(tmp_path: Path, name: str) -> None:
    logs = tmp_path / "spark-events"
    logs.mkdir()
    (logs / name).touch()
    assert find_logs(tmp_path) == find_logs(logs) == logs


def test_what_is_wrong_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "spark-events").mkdir()
    (tmp_path / "spark-events" / "notes").touch()
    with pytest.raises(SessionError, match="no event logs of Spark in") as found:
        find_logs(tmp_path)
    assert "spark.event_logs.enabled" in found.value.remedy
    with pytest.raises(SessionError, match="there is no directory /nonexistent"):
        find_logs(Path("/nonexistent"))


def failure(*arguments: str) -> OodRuntimeError:
    """What the command line ends with."""
    result = CliRunner().invoke(history.command, arguments)
    assert isinstance(result.exception, OodRuntimeError), result.output
    return result.exception


def test_errors_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = failure(str(tmp_path))
    assert isinstance(error, SettingsError)
    assert "--secret-file" in error.remedy, "a job's output is no place for a secret"
    file = ("--secret-file", str(tmp_path / "secret"))
    assert isinstance(failure(str(tmp_path), *file), SessionError)
    (tmp_path / "app-1").touch()
    nothing = ("--set", "spark.home=/nonexistent", "--set", "spark.java_home=/nonexistent")
    missing = failure(str(tmp_path), *file, *nothing)
    assert isinstance(missing, MissingError)
    assert "spark.home" in missing.what and "spark.java_home" in missing.what
    assert not (tmp_path / "secret").exists()


@pytest.fixture
def server() -> Iterator[tuple[HistoryServer, list[dict[str, str]]]]:
    """Stands for Spark's history server: has one page, and remembers the headers that it got."""
    heard: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(dict(self.headers))
            self.send_response(302 if self.path == "/history/app-1" else 200)
            self.send_header("Location", f"http://127.0.0.1:1{BASE}/history/app-1/jobs/")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as target:
        thread = threading.Thread(target=target.serve_forever, args=(0.01,))
        thread.start()
        process = cast(Any, SimpleNamespace(poll=lambda: None))
        yield HistoryServer(process, target.server_port, Secret("Bearer gToken"), SERVICE, Path("/nonexistent")), heard
        target.shutdown()
        thread.join()


HIDDEN = Way("127.0.0.1", 0, BASE)


def ask(server: HistoryServer, *requests: tuple[str, dict[str, Any]], way: Way = HIDDEN) -> list[HTTPResponse]:
    """Open the way in, and what it answers to these paths."""

    async def all_of_them() -> list[HTTPResponse]:
        with history_entrance.opened(way, Secret("gSecret"), server) as address, closing(AsyncHTTPClient()) as client:
            assert address.endswith(f"{BASE}/")
            return [
                await client.fetch(
                    f"{address.removesuffix(f'{BASE}/')}{path}", raise_error=False, follow_redirects=False, **more
                )
                for path, more in requests
            ]

    return asyncio.run(all_of_them())


LOGIN = f"{BASE}/ood-runtime/login"
COOKIE = {"headers": {"Cookie": "ood-runtime-gateway=gSecret"}}


def test_the_owner_gets_in_and_stays_inside(server: tuple[HistoryServer, list[dict[str, str]]]) -> None:
    page, login, owner, redirect = ask(
        server[0],
        (f"{BASE}/", {}),
        (LOGIN, {"method": "POST", "body": "secret=gSecret"}),
        (f"{BASE}/", COOKIE),
        (f"{BASE}/history/app-1", COOKIE),
    )
    assert (page.code, f'action="{LOGIN}"' in page.body.decode()) == (403, True)
    assert (login.code, login.headers["Location"]) == (303, f"{BASE}/")
    cookie = login.headers["Set-Cookie"]
    assert all(part in cookie for part in ("gSecret", "HttpOnly", f"Path={BASE}", "SameSite=Strict")), cookie
    assert (owner.code, owner.body.decode()) == (200, PAGE)
    assert (redirect.code, redirect.headers["Location"]) == (302, f"{BASE}/history/app-1/jobs/")
    assert {headers["Authorization"] for headers in server[1]} == {"Bearer gToken"}
    assert not any("Cookie" in headers for headers in server[1])


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/", {}, 404),
        ("/", COOKIE, 404),
        ("/favicon.ico", {}, 404),
        (f"{BASE}x/", COOKIE, 404),
        ("/ood-runtime/login", {"method": "POST", "body": "secret=gSecret"}, 404),
        (f"{BASE}/", {"headers": {"Cookie": "ood-runtime-gateway=gSecre"}}, 403),
        (f"{BASE}/", {"headers": {"Cookie": "ood-runtime-gateway="}}, 403),
        (f"{BASE}/api/v1/applications", {"headers": {"Authorization": "Bearer gSecret"}}, 403),
        (f"{BASE}/?secret=gSecret", {}, 403),
        (LOGIN, {"method": "POST", "body": "secret=wrong"}, 403),
        (LOGIN, {"method": "POST", "body": ""}, 403),
    ],
)
def test_nobody_else_gets_in(
    server: tuple[HistoryServer, list[dict[str, str]]], path: str, more: dict[str, Any], status: int
) -> None:
    (answer,) = ask(server[0], (path, more))
    assert answer.code == status
    assert server[1] == [], "nothing of it reached Spark"
    assert b"gSecret" not in answer.body
    if status == 404:
        assert BASE.encode() not in answer.body, "who does not know the path is not told"


def test_through_a_portal_whose_proxy_takes_the_path_away(server: tuple[HistoryServer, list[dict[str, str]]]) -> None:
    way = replace(HIDDEN, hidden=False)
    page, login, owner, redirect = ask(
        server[0],
        ("/", {}),
        ("/ood-runtime/login", {"method": "POST", "body": "secret=gSecret"}),
        ("/", COOKIE),
        ("/history/app-1", COOKIE),
        way=way,
    )
    assert (page.code, f'action="{LOGIN}"' in page.body.decode()) == (403, True)
    assert (login.headers["Location"], owner.code) == ("/", 200), "the proxy puts the path in front"
    assert redirect.headers["Location"] == "/history/app-1/jobs/"
    with history._way(Settings(), 0, portal=True) as found:
        assert (found.base, found.hidden) == (f"/rnode/{found.base.split('/')[2]}/{found.port}", False)
    with history._way(Settings.model_validate({"portal": {"origin": "https://ood"}}), 4711, portal=True) as found:
        assert (found.url, found.port) == ("https://ood", 4711)
    with history._way(Settings(), 4711, portal=False) as one, history._way(Settings(), 4711, portal=False) as other:
        assert one.base != other.base and one.hidden and one.address == "127.0.0.1"


def test_a_port_that_is_taken(server: tuple[HistoryServer, list[dict[str, str]]]) -> None:
    taken = history_entrance.opened(replace(HIDDEN, port=server[0].port), Secret("gSecret"), server[0])
    with pytest.raises(SettingsError, match=f"cannot listen on port {server[0].port}: Address already in use"), taken:
        pass


def test_applications_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([0, 0, 3])
    monkeypatch.setattr(HistoryServer, "_applications", lambda self: next(answers))
    monkeypatch.setattr(history_server, "_LOOK_SECONDS", 0)
    running = cast(Any, SimpleNamespace(poll=lambda: None))
    assert HistoryServer(running, 1, Secret("x"), SERVICE, Path("/nonexistent")).applications() == 3

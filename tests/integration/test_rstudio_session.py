"""Sessions of RStudio Server from start to end, with a stand-in for rserver of several releases, and a real R."""

import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.standins.rserver import install
from tests.standins.rserver_options import Release
from tests.support.accounts import user_of_tests
from tests.support.faults import (
    Place,
    alive,
    assert_gone,
    command,
    kill,
    launched,
    pid_of,
    place,
    soon,
    state_of,
    supervisor_of,
    traces,
)
from tests.support.needs import need
from tests.support.rstudio import RStudioClient
from tests.support.running import RunningSession

pytestmark = pytest.mark.integration

OLD, USUAL, WITH_A_KEY, NEW = (1, 2, 5042), (1, 4, 1103), (2022, 7, 2), (2026, 5, 0)
APPTAINER = Path(__file__).parents[1] / "standins" / "apptainer.py"
ODD = """it's a "session" * é"""
JOB = {
    "R_LIBS_USER": "/opt/R libs",
    "LOADEDMODULES": "r/4.2:gcc",
    "LD_LIBRARY_PATH": "/opt/it's lib:/opt/b",
    "OMP_NUM_THREADS": "2",
    "KRB5CCNAME": "FILE:/tmp/krb5cc_test",
}


@pytest.fixture
def at() -> Iterator[Place]:
    need("R")
    with place() as new:
        yield new


@contextmanager
def rstudio(
    at: Place, release: Release, *settings: str, env: Mapping[str, str] | None = None, name: str = ODD
) -> Iterator[tuple[RunningSession, RStudioClient, dict[str, str]]]:
    """A session that is ready, somebody who has not signed in, and what connection.yml says."""
    programs = at.root / "rstudio" / ".".join(map(str, release)) / "bin"
    if not programs.exists():
        install(programs.parent, release)
    words = [word for setting in (f"rstudio.command={programs / 'rserver'}", *settings) for word in ("--set", setting)]
    own = {"XDG_DATA_HOME": str(at.home / "data"), **JOB, **(env or {})}
    with launched(at, "rstudio", *words, directory=at.root / name, env=own) as session:
        connection = {key: str(value) for key, value in session.connection().items()}
        client = RStudioClient(f"http://{connection['host']}:{connection['port']}/")
        yield session, client, connection
        client.close()


def sign_in(client: RStudioClient, connection: Mapping[str, str], **more: str) -> str:
    token = connection["csrf_token"]
    return client.sign_in(connection["username"], connection["password"], token=token, **more)


def variables(client: RStudioClient, *names: str) -> dict[str, str]:
    """What R has of these variables of its environment."""
    vector = ", ".join(json.dumps(name) for name in names)
    lines = client.run(f"writeLines(Sys.getenv(c({vector})))").splitlines()
    return dict(zip(names, lines, strict=True))


@pytest.mark.parametrize("release", [OLD, USUAL, WITH_A_KEY, NEW], ids=lambda release: ".".join(map(str, release)))
def test_who_gets_in_and_what_r_has(at: Place, release: Release) -> None:
    fixed = [Path("/tmp", name) for name in ("rstudio-rsession", "rstudio-rserver", "rstudio-server")]
    before = [path for path in fixed if path.exists()]
    with rstudio(at, release) as (session, client, connection):
        assert set(connection) == {"host", "port", "username", "password", "csrf_token"}
        assert stat.S_IMODE((session.directory / "connection.yml").stat().st_mode) == 0o600
        user, password = connection["username"], connection["password"]
        assert client.page().status_code == 302
        assert client.sign_in("root", password) == client.sign_in(user, "") == "1"
        assert sign_in(client, connection) == sign_in(client, connection) == ""  # as a double click
        assert client.page().status_code == 200

        names = ["R_LIBS_USER", "LOADEDMODULES", "OMP_NUM_THREADS", "KRB5CCNAME"]
        assert variables(client, *names) == {name: JOB[name] for name in names}
        got = variables(client, "USER", "R_HOME", "LD_LIBRARY_PATH", "TMPDIR", "OOD_RUNTIME_SESSION_DIR")
        assert (got["USER"], got["OOD_RUNTIME_SESSION_DIR"]) == (user, str(session.directory))
        assert got["LD_LIBRARY_PATH"].endswith("/opt/it's lib:/opt/b")
        assert got["LD_LIBRARY_PATH"].startswith(got["R_HOME"])
        assert got["TMPDIR"] == str(at.tmp)
        assert client.run("sum(1:1000)").strip() == "[1] 500500"
        assert_private(session)

        seen = traces(session)
        lines = session.processes().values()
        assert any("rsession" in line for line in lines)
        assert any("/bwrap" in line for line in lines) == (release in (OLD, WITH_A_KEY))
        if release == OLD:  # its R would save into the real home directory of whoever runs this
            kill(supervisor_of(session))
            assert session.wait() == 137
        else:
            assert session.stop() == 143
        assert_gone(session, seen)
    assert [path for path in fixed if path.exists()] == before


def assert_private(session: RunningSession) -> None:
    """Nothing that belongs to the session can be read by others, and no secret shows in a command line."""
    record = json.loads((session.directory / "ood-runtime/session.json").read_text())
    for top in (session.directory, *map(Path, record["outside"])):
        assert stat.S_IMODE(top.stat().st_mode) == 0o700, top
    lines = session.processes()
    for secret in session.secrets():
        assert not any(secret in line for line in lines.values())
        assert secret not in (session.directory / "logs/rstudio.log").read_text()


def test_cookies_of_an_earlier_job_are_not_in_the_way(at: Place) -> None:
    """A browser sends those with the longer path first: the portal's, and then what an earlier rserver has set."""
    for release, stale in ((USUAL, "csrf-token"), (NEW, "rs-csrf-token")):
        with rstudio(at, release, name=f"session {stale}") as (_, client, connection):
            token = connection["csrf_token"]
            ours = f"csrf-token={token}; rs-csrf-token={token}"
            left = f"{stale}=of-an-earlier-job; user-id=somebody%7Celse%7Cx; persist-auth=1"
            assert sign_in(client, connection, cookies=f"{ours}; {left}") == ""
            assert sign_in(client, connection, cookies=f"{left}; {ours}") == "2"  # which is why the path is longer


def test_r_is_saved_and_comes_back_into_the_environment_of_the_next_job(at: Place) -> None:
    with rstudio(at, USUAL, env={"MY_JOB": "1", "ONLY_THEN": "x"}) as (session, client, connection):
        sign_in(client, connection)
        assert client.run("x <- 41 + 1; Sys.setenv(MINE = 'set in R')") == ""
        assert command(at, "stop", session.directory).returncode == 0
        assert session.wait() == 0
    assert list((at.home / "data").rglob("environment"))
    with rstudio(at, USUAL, env={"MY_JOB": "2"}) as (session, client, connection):
        sign_in(client, connection)
        assert client.run("x").strip() == "[1] 42"
        got = variables(client, "MY_JOB", "ONLY_THEN", "MINE", "OOD_RUNTIME_SESSION")
        assert got == {"MY_JOB": "2", "ONLY_THEN": "", "MINE": "", "OOD_RUNTIME_SESSION": session.id}
        (rsession,) = [pid for pid, line in session.processes().items() if "bin/rsession" in line]
        os.kill(rsession, signal.SIGUSR2)
        soon(lambda: not alive(rsession), "end of the R session")
        assert client.run("Sys.setenv(MINE = 'again'); x").strip() == "[1] 42"


def facts(session: RunningSession) -> tuple[object, object]:
    state = state_of(session, "rstudio") or {}
    return state["restarts"], state["state"]


def test_rserver_comes_back_and_finds_the_session(at: Place) -> None:
    with rstudio(at, USUAL, "rstudio.workspace=session") as (session, client, connection):
        sign_in(client, connection)
        r = client.run("x <- 7; Sys.getpid()")
        kill(pid_of(session, "rstudio"))
        soon(lambda: facts(session) == (1, "ready"), "second rserver")
        assert client.run("Sys.getpid()") == r
        assert client.run("x").strip() == "[1] 7"
        assert session.stop() == 143
    assert list((session.directory / "ood-runtime/rstudio/data").rglob("environment"))


def test_two_sessions_at_once_share_nothing(at: Place) -> None:
    for release, *how in ((USUAL,), (OLD, "rstudio.isolation=unshare")):
        with (
            rstudio(at, release, "rstudio.workspace=session", *how, name="one") as (one, first, its),
            rstudio(at, release, "rstudio.workspace=session", name="other") as (other, second, others),
        ):
            assert first.sign_in(its["username"], others["password"]) == "1"
            assert sign_in(first, its) == sign_in(second, others) == ""
            second.http.cookies = first.http.cookies.copy()
            assert second.page().status_code == 302, "a cookie of the one is none of the other"
            if release == USUAL:
                assert sign_in(second, others) == ""
                pids = {client.run("Sys.getpid()") for client in (first, second)}
                assert len(pids) == 2
            assert other.stop() == 143
            assert sign_in(first, its) == ""
            assert one.stop() == 143


def test_an_image(at: Place) -> None:
    """What of the node R needs is bound into it; what modules have put first in the job's libraries stays outside."""
    need("bwrap")
    image, apptainer = at.root / "an image.sif", at.root / "bin/apptainer"
    image.touch()
    apptainer.parent.mkdir()
    apptainer.write_text(f"#!{sys.executable} -I\n{APPTAINER.read_text()}")
    apptainer.chmod(0o755)
    path = f"{apptainer.parent}:{user_of_tests().environment()['PATH']}"
    settings = (f"rstudio.image={image}", "rstudio.workspace=session")
    with rstudio(at, USUAL, *settings, env={"PATH": path}) as (session, client, connection):
        assert sign_in(client, connection) == ""
        got = variables(client, "LOADEDMODULES", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
        assert (got["LOADEDMODULES"], got["TMPDIR"]) == (JOB["LOADEDMODULES"], str(at.tmp))
        assert got["LD_LIBRARY_PATH"].endswith("/.singularity.d/libs")
        assert got["PATH"] == "/usr/local/bin:/usr/bin:/bin"
        assert client.run("setdiff(dir('/tmp'), basename(dirname(Sys.getenv('TMPDIR'))))").strip() == "character(0)"
        seen = traces(session)
        assert session.stop() == 143
        assert_gone(session, seen)


def test_a_start_that_fails_says_why(at: Place) -> None:
    install(at.root / "rstudio", USUAL)
    broken = at.root / "R"
    broken.write_text("#!/bin/sh\n[ \"$1\" = RHOME ] && exec R RHOME\necho 'libicu.so: cannot open' >&2; exit 127\n")
    broken.chmod(0o755)
    words = [f"rstudio.command={at.root}/rstudio/bin/rserver", f"rstudio.r={broken}"]
    with launched(at, "rstudio", *[word for setting in words for word in ("--set", setting)]) as session:
        assert session.wait() == 5
        assert "rstudio ended with exit status 1" in session.output()
        assert "libicu.so: cannot open" in session.output()


def test_a_plan_tells_it_all_and_starts_nothing(at: Place) -> None:
    install(at.root / "rstudio", USUAL)
    setting = ("--set", f"rstudio.command={at.root}/rstudio/bin/rserver")
    done = command(at, "plan", at.root / "session", "rstudio", *setting)
    assert done.returncode == 0, done.stderr
    assert f'username: "{user_of_tests().name}"' in done.stdout
    assert not (at.root / "session").exists()

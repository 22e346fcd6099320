"""The stand-in for rserver does what is known of the real one: what it refuses, and what it takes from whom."""

import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.standins.rserver import install
from tests.standins.rserver_options import Release
from tests.support.needs import need
from tests.support.rstudio import RServer, RStudioClient, rserver, sessions

pytestmark = pytest.mark.integration
OLD, V14, V2022, NEW = (1, 2, 5042), (1, 4, 1103), (2022, 12, 0), (2026, 8, 0)
PASSWORD = " it's 100% *\\ "
# Notes what it got, and lets in who gave the right password.
HELPER = """\
#!/bin/sh
cd {place}
printf '%s\\n' "$@" > arguments
cat > password
env > helper-environment
cmp -s password right
"""
WRAPPER = """\
#!/bin/sh
env > {place}/session-environment
printf '%s\\n' "$@" > {place}/session-arguments
HOME={place}/home exec {place}/rstudio/bin/rsession "$@"
"""


@pytest.fixture
def place(short_tmp: Path) -> Path:
    for name, text in (("helper", HELPER), ("wrapper", WRAPPER)):
        (short_tmp / name).write_text(text.format(place=short_tmp))
        (short_tmp / name).chmod(0o700)
    (short_tmp / "right").write_text(PASSWORD)
    (short_tmp / "home").mkdir()
    return short_tmp


@contextmanager
def client_of(server: RServer) -> Iterator[RStudioClient]:
    client = RStudioClient(server.url)
    yield client
    client.close()


def user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def why_it_ended(place: Path, release: Release, **options: Any) -> str:
    """What an rserver says that does not start."""
    with rserver(place, release, **options) as server:
        assert server.process.wait(30) == 1
        assert server.process.stderr
        return server.process.stderr.read()


def in_a_moment(place: Path, count: int) -> bool:
    deadline = time.monotonic() + 10
    while len(sessions(place)) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(sessions(place)) == count


def test_each_release_lists_its_options_and_refuses_others(place: Path) -> None:
    listed = {}
    for release in (OLD, V14, NEW):
        program = install(place / str(release[0]) / str(release[1]), release) / "rserver"
        done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
        listed[release] = set(re.findall(r"(?m)^  --([a-z-]+)", done.stdout))
        refused = subprocess.run([program, "--no-such=1"], capture_output=True, text=True, check=False)
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "")  # syslog has it
    assert "server-data-dir" not in listed[OLD]
    assert listed[V14] - listed[OLD] >= {"server-data-dir", "database-config-file", "www-root-path"}
    assert listed[NEW] - listed[V14] >= {"www-socket", "check-config", "www-proxy-localhost-verify-port-owner"}


@pytest.mark.parametrize("release", [OLD, V14, NEW], ids=str)
def test_a_sign_in_and_an_r_session(place: Path, release: Release) -> None:
    (place / "data").mkdir()
    env = {"TMPDIR": str(place), "LD_LIBRARY_PATH": "/of/the/job", "R_LIBS": str(place), "RSTUDIO_SESSION_TIMEOUT": "0"}
    # Nothing is shared with another rserver of this machine: the oldest has its sockets at a fixed place.
    own_tmp = (
        "bwrap",
        "--die-with-parent",
        "--dev-bind",
        "/",
        "/",
        "--tmpfs",
        "/tmp",
        "--bind",
        str(place),
        str(place),
    )
    prefix = own_tmp if release == OLD and need("bwrap") else ()
    with rserver(place, release, env=env, prefix=prefix) as server, client_of(server) as client:
        assert client.page().headers["Location"].endswith("/auth-sign-in?appUri=%2F")
        assert client.page("auth-sign-in").status_code == 200
        assert client.sign_in(user(), "wrong") == "1"
        (place / "arguments").unlink()
        assert client.sign_in(user(), "") == "1"
        assert not (place / "arguments").exists()  # nobody was asked
        assert client.sign_in(user(), PASSWORD) == ""
        assert (place / "arguments").read_text().split() == [user(), *(["rstudio", "1"] if release > OLD else [])]
        assert (place / "password").read_bytes() == PASSWORD.encode()
        assert "R_LIBS=" in (place / "helper-environment").read_text()
        assert client.page().status_code == 200

        assert client.run("1 + 1") == "[1] 2\n"
        assert client.run("Sys.getenv('R_LIBS')") == '[1] ""\n'
    environment = (place / "session-environment").read_text()
    assert not re.search("^(TMPDIR|R_LIBS|LC_ALL)=", environment, re.MULTILINE)
    assert re.search("^LD_LIBRARY_PATH=.*/lib:/of/the/job$", environment, re.MULTILINE)
    assert re.search("^R_HOME=/", environment, re.MULTILINE)
    assert {"-u", user(), "--session-timeout-minutes"} < set((place / "session-arguments").read_text().split())


def test_tokens_and_throttle(place: Path) -> None:
    (place / "helper").write_text("#!/bin/sh\nexit 0\n")
    with rserver(place, V2022, auth_sign_in_throttle_seconds=5) as server, client_of(server) as client:
        # The first cookie of a name counts, and the new name before the old one.
        assert client.sign_in("a", "x", cookies="csrf-token=portal-token; rs-csrf-token=stale") == "2"
        assert client.sign_in("a", "x", cookies="rs-csrf-token=stale; rs-csrf-token=portal-token") == "2"
        assert client.sign_in("a", "x", cookies="rs-csrf-token=portal-token; rs-csrf-token=stale") == ""
        assert client.sign_in("a", "x") == "2"  # too soon
        assert client.sign_in("b", "x", cookies="csrf-token=portal-token") == ""
        assert client.page().status_code == 200
        changed = str(client.http.cookies["user-id"]).replace("b|", "c|")
        client.http.cookies.clear()
        client.http.cookies.set("user-id", changed)
        assert client.page().status_code == 302


def test_old_sessions_outlive_rserver_and_new_ones_are_suspended_with_it(place: Path) -> None:
    for release, left in ((V14, 1), (V2022, 0)):
        own = place / str(release[0])
        own.mkdir()
        (own / "home").mkdir()
        for name, text in (("helper", "#!/bin/sh\nexit 0\n"), ("wrapper", WRAPPER.format(place=own))):
            (own / name).write_text(text)
            (own / name).chmod(0o700)
        with rserver(own, release) as server, client_of(server) as client:
            assert client.sign_in(user(), "x") == ""
            client.run("answer <- 42")
            server.process.terminate()
            assert server.process.wait(30) == -signal.SIGTERM
            assert len(sessions(own)) == left
            for pid in sessions(own):
                os.kill(pid, signal.SIGUSR2)
            assert in_a_moment(own, 0)
        assert list((own / "home").rglob("suspended-session-data/environment"))


def test_what_it_does_not_start_without(place: Path) -> None:
    def fails(name: str, release: Release, **options: object) -> str:
        own = place / name
        own.mkdir()
        return why_it_ended(own, release, **options)

    assert "does not exist" in fails("1", V14, database_config_file="/nonexistent")
    assert "database error 7" in fails("2", V14, database_config_file="")
    assert "without privilege" in fails("3", NEW, server_user="rstudio-server")
    assert "File name too long" in fails("4", V2022, server_data_dir=place / ("d" * 60))
    (place / "empty").touch()
    assert "empty" in fails("5", V14, secure_cookie_key_file=place / "empty")
    assert "installation of R" in fails("6", V14, rsession_which_r="/no-such")
    assert "Permission denied" in fails("7", V14, server_data_dir="/var/run/rstudio-server")

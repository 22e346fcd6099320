"""RStudio sessions of several users of a node: what one has left, has planted or tries is of no use to the others."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.test_rstudio_session import OLD, WITH_A_KEY, rstudio, sign_in
from tests.standins.rserver import install
from tests.support.accounts import Account, user_of_tests
from tests.support.faults import Place, environment, launch, place
from tests.support.needs import need
from tests.support.rstudio import RStudioClient
from tests.support.session_of_two import PYTHON

pytestmark = [pytest.mark.root, pytest.mark.integration]

FIXED = [Path("/tmp", name) for name in ("rstudio-rsession", "rstudio-rserver", "rstudio-server")]
CONNECT = """import socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print(path)
    except PermissionError:
        pass"""


@pytest.fixture
def at() -> Iterator[Place]:
    need("R")
    with place() as new:
        new.root.chmod(0o755)
        yield new


@pytest.fixture
def left_by_mallory(mallory: Account) -> Iterator[None]:
    """What the first user of a node leaves where old releases keep their files."""
    assert not [path for path in FIXED if path.exists()]
    for path in FIXED:
        path.mkdir(mode=0o755)
        (path / "secure-cookie-key").write_text("x" * 36)
        for part in (path, path / "secure-cookie-key"):
            os.chown(part, mallory.uid, mallory.gid)
    yield
    for path in FIXED:
        assert [part.name for part in path.iterdir()] == ["secure-cookie-key"]
        shutil.rmtree(path)


@pytest.mark.usefixtures("left_by_mallory")
@pytest.mark.parametrize("release", [OLD, WITH_A_KEY], ids=["1.2", "2022.07"])
def test_what_another_user_has_left_is_not_in_the_way(at: Place, release: tuple[int, ...]) -> None:
    with rstudio(at, release, "rstudio.workspace=session") as (_, client, connection):
        assert sign_in(client, connection) == ""
        assert client.page().status_code == 200


@pytest.mark.usefixtures("left_by_mallory")
def test_without_isolation_it_is_refused_with_the_reason(at: Place) -> None:
    install(at.root / "rstudio", OLD)
    settings = (f"rstudio.command={at.root}/rstudio/bin/rserver", "rstudio.isolation=none")
    words = [word for setting in settings for word in ("--set", setting)]
    session = launch(at, "rstudio", *words, directory=at.root / "session")
    assert session.wait() == 3
    assert "/tmp/rstudio-rsession is not yours" in session.output()


def test_what_another_user_cannot_do(at: Place, mallory: Account) -> None:
    with rstudio(at, WITH_A_KEY, "rstudio.workspace=session") as (session, client, connection):
        assert sign_in(client, connection) == ""
        client.run("x <- 'private'")
        stranger = RStudioClient(client.url)
        assert stranger.sign_in(connection["username"], "x" * 32) == "1"
        assert stranger.sign_in(mallory.name, connection["password"]) == "1"
        assert stranger.page().status_code == 302
        pids = list(session.processes())
        files = [f"/proc/{pid}/{name}" for pid in pids for name in ("environ", "mem", "fd/0")]
        files += [str(path) for path in session.directory.rglob("*") if path.is_file()]
        assert len(pids) > 2 and len(files) > 12
        assert mallory.run(["cat", *files]).stdout == ""
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        ours = json.loads((session.directory / "ood-runtime/session.json").read_text())["outside"]
        paths = [line[7] for line in lines if len(line) > 7 and line[3] == "00010000"]
        sockets = [path for path in paths if path.startswith(tuple(ours))]
        assert sockets  # the R session's
        done = mallory.run([PYTHON, "-c", CONNECT, *sockets])
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_two_users_at_once(at: Place, mallory: Account) -> None:
    with rstudio(at, OLD, "rstudio.workspace=session") as (_, client, connection):
        theirs = at.root / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, mallory.uid, mallory.gid)
        words = [sys.executable, "-m", "ood_runtime", "start", "rstudio", "--session-dir", str(theirs)]
        programs = at.root / "rstudio" / ".".join(map(str, OLD)) / "bin"
        words += ["--set", f"rstudio.command={programs / 'rserver'}"]
        process = mallory.start(words, {"PYTHONPATH": environment(at)["PYTHONPATH"], "TMPDIR": "/tmp"})
        try:
            other = their_connection(process, theirs / "connection.yml")
            their_client = RStudioClient(f"http://{other['host']}:{other['port']}/")
            assert other["username"] == mallory.name
            assert their_client.sign_in(mallory.name, str(other["password"])) == ""
            assert sign_in(client, connection) == ""
            assert client.sign_in(mallory.name, str(other["password"])) == "1"
            assert their_client.sign_in(user_of_tests().name, connection["password"]) == "1"
        finally:
            process.terminate()
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 143, said


def their_connection(process: "subprocess.Popen[str]", path: Path) -> dict[str, object]:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    values = yaml.safe_load(path.read_text())
    assert isinstance(values, dict)
    return values

"""Sessions where names, directories, ports and descriptors are not as anybody would wish them."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, assert_gone, command, environment, kill, launched, place, supervisor_of, traces
from tests.support.jupyter import log_in
from tests.support.running import files_below

pytestmark = pytest.mark.integration

THIEF = Path(__file__).parents[1] / "support" / "port_thief.py"
LOWEST = 29000


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        yield new


NAMES = {
    "everything": "a b'c\"d\n$(touch x)`touch y`;\\ %s {{ 1 }} #&*?é",
    "variable": "${HOME} $HOME ~",
    "long": "n" * 200,
    "dash": "-rf",
    "comma": "a,b=c@d",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_name_of_the_session_directory(at: Place, name: str, locale: str) -> None:
    """Spark and a kernel work there, too; a name is never run or split."""
    app = "jupyter-spark" if (locale, name) == ("C.UTF-8", NAMES["everything"]) else "jupyter"
    kernel_name, code = ("pyspark", "sc.parallelize(range(1000)).sum()") if "spark" in app else ("python3", "499500")
    directory = at.root / "no parent" / name
    with launched(at, app, directory=directory, env={"LANG": locale, "LC_ALL": locale}) as session:
        seen = traces(session)
        client = log_in(session.connection())
        assert client.run(client.start_kernel(kernel_name), code).strip() == "499500"
        client.close()
        assert command(at, "status", directory).returncode == 0
        assert command(at, "stop", directory).returncode == 0
        assert session.wait() == 0, session.output()
        assert_gone(session, seen)
        assert not [path for path in at.root.rglob("[xy]") if path.name in "xy"]


def test_name_that_is_no_text(at: Place) -> None:
    """A name of bytes that are no UTF-8, as an old file system has them."""
    directory = at.root / os.fsdecode(b"caf\xe9")
    with launched(at, "jupyter", directory=directory) as session:
        session.connection()
        assert session.stop() == 143, session.output()


def test_relative_directory_below_a_directory_that_takes_nothing(at: Place) -> None:
    work = at.root / "work"
    for path, mode in ((work / "session", 0o700), (work, 0o555)):
        path.mkdir(parents=True, exist_ok=True)
        os.chown(path, user_of_tests().uid, user_of_tests().gid)
        path.chmod(mode)
    with launched(at, "jupyter", directory="session", cwd=work) as session:
        seen = traces(session)
        assert session.stop() == 143
        assert_gone(session, seen)


def test_directory_that_cannot_be_made(at: Place) -> None:
    work = at.root / "work"
    work.mkdir(mode=0o555)
    with launched(at, "jupyter", directory=work / "session") as session:
        assert session.wait() == 2
        _clear_words(session.output(), "session directory")


HOMES = {
    "unwritable": "chmod 555 $HOME",
    "missing": "rmdir $HOME",
    "unset": "unset HOME",
    "a file": "rmdir $HOME; touch $HOME",
    "empty string": "HOME=",
    "relative": "HOME=home",
}


@pytest.mark.parametrize("shell", HOMES.values(), ids=HOMES.keys())
def test_home(at: Place, shell: str) -> None:
    with launched(at, "jupyter", env={"XDG_CACHE_HOME": None}, shell=shell) as session:
        seen = traces(session)
        client = log_in(session.connection())
        assert client.run(client.start_kernel("python3"), "6 * 7").strip() == "42"
        assert client.request("GET", "api/contents").status_code == 200
        client.close()
        assert session.stop() == 143
        assert_gone(session, seen)


def test_spark_without_a_home(at: Place) -> None:
    with launched(at, "jupyter-spark", env={"XDG_CACHE_HOME": None}, shell="rmdir $HOME") as session:
        client = log_in(session.connection())
        assert client.run(client.start_kernel(), "sc.parallelize(range(1000)).sum()").strip() == "499500"
        client.close()


TMPDIRS = {
    "missing": "rmdir $TMPDIR",
    "unwritable": "chmod 555 $TMPDIR",
    "unset": "unset TMPDIR",
    "long": "TMPDIR=$TMPDIR/$(printf %0150d 0); mkdir $TMPDIR",
    "blanks and quotes": 'TMPDIR="$TMPDIR/a b\'c\\"d \\$(touch x)"; mkdir "$TMPDIR"',
    "relative": "TMPDIR=tmp",
}


@pytest.mark.parametrize("shell", TMPDIRS.values(), ids=TMPDIRS.keys())
def test_tmpdir(at: Place, shell: str) -> None:
    app, kernel, code = ("jupyter", "python3", "499500")
    if "printf" in shell or "touch" in shell:
        app, kernel = ("jupyter-spark", "pyspark")
        code = "sc.parallelize([(n % 7, n) for n in range(1000)]).groupByKey().mapValues(sum).values().sum()"
    with launched(at, app, shell=shell) as session:
        seen = traces(session)
        client = log_in(session.connection())
        assert client.run(client.start_kernel(kernel), code).strip() == "499500"
        client.close()
        assert session.stop() == 143
        assert_gone(session, seen)
        assert not list(at.root.rglob("x"))


@pytest.mark.parametrize(("mask", "app"), [("077", "jupyter"), ("000", "jupyter-spark"), ("002", "jupyter")])
def test_umask(at: Place, mask: str, app: str) -> None:
    """Whatever the mask: nobody else can read what the session writes, and it can itself."""
    with launched(at, app, shell=f"umask {mask}") as session:
        client = log_in(session.connection())
        spark = app == "jupyter-spark"
        client.run(client.start_kernel("pyspark" if spark else "python3"), "spark.range(9).count()" if spark else "9")
        client.close()
        assert stat.S_IMODE((session.directory / "connection.yml").stat().st_mode) == 0o600
        open_to_others = [
            path
            for path in files_below(session.directory)
            if path.stat().st_mode & 0o077 and not _closed_above(path, session.directory)
        ]
        assert not open_to_others


def _closed_above(path: Path, top: Path) -> bool:
    return any(not stat.S_IMODE(parent.stat().st_mode) & 0o077 for parent in path.parents if top in parent.parents)


DESCRIPTORS = {
    "stdin closed": "exec <&-",
    "stdout closed": "exec >&-",
    "stderr closed": "exec 2>&-",
    "all closed": "exec <&- >&- 2>&-",
    "stderr a broken pipe": "mkfifo pipe; head -c0 <pipe & exec 2>pipe",
    "stdout full": "exec >/dev/full 2>&1",
}


@pytest.mark.parametrize("shell", DESCRIPTORS.values(), ids=DESCRIPTORS.keys())
@pytest.mark.parametrize("end", ["SIGTERM", "kill"])
def test_standard_streams(at: Place, shell: str, end: str) -> None:
    """A session needs nobody who listens to it; its exit status stays true."""
    with launched(at, "jupyter", shell=shell) as session:
        seen = traces(session)
        if end == "kill":
            kill(supervisor_of(session))
            assert session.wait() == 137
        else:
            assert session.stop() == 143
        assert_gone(session, seen)


def test_two_sessions_of_one_user(at: Place) -> None:
    with launched(at, "jupyter", directory="one") as one, launched(at, "jupyter", directory="two") as two:
        first, second = traces(one), traces(two)
        assert not set(first.ports) & set(second.ports)
        assert not set(first.processes) & set(second.processes)
        assert one.stop() == 143
        assert_gone(one, first)
        log_in(two.connection()).close()


def test_two_sessions_in_one_directory(at: Place) -> None:
    with launched(at, "jupyter") as one:
        connection = one.connection()
        with launched(at, "jupyter") as two:
            assert two.wait() == 2
            assert "already runs in" in two.output()
            assert "--session-dir" in two.output()
            assert one.process.poll() is None
            log_in(connection).close()
            assert one.stop() == 143


def test_ports_that_are_taken(at: Place) -> None:
    """200 of 206 ports are listened on, at one address or the other: the rest is found."""
    with ExitStack() as stack:
        _listen(stack, range(LOWEST, LOWEST + 200))
        with launched(at, "jupyter-spark", *_range(LOWEST, LOWEST + 205)) as session:
            assert int(session.connection()["port"]) >= LOWEST + 200


def test_range_without_a_free_port(at: Place) -> None:
    with ExitStack() as stack:
        _listen(stack, range(LOWEST, LOWEST + 5))
        with launched(at, "jupyter", *_range(LOWEST, LOWEST + 4)) as session:
            assert session.wait() == 3
            _clear_words(session.output(), f"no free port between {LOWEST} and {LOWEST + 4}", "ports.min")


# With Spark all of them, since nobody may listen on one: it is for another way to share, or another Jupyter.
@pytest.mark.parametrize(("app", "times"), [("jupyter", 1), ("jupyter-spark", 6)])
def test_port_that_is_stolen(at: Place, app: str, times: int) -> None:
    """A program takes ports between choosing and listening: others are drawn, and the thief's are not announced."""
    with _thief(at, times) as thief, launched(at, app, *_range(LOWEST, LOWEST + 12)) as session:
        seen = traces(session)
        assert thief.stdout
        stolen = {int(thief.stdout.readline()) for _ in range(times)}
        assert "drawing other ports" in session.output()
        assert session.connection()["port"] not in stolen
        log_in(session.connection()).close()
        assert session.stop() == 143
        assert_gone(session, seen)


def test_ports_that_are_stolen_again_and_again(at: Place) -> None:
    with _thief(at, times=50), launched(at, "jupyter", *_range(LOWEST, LOWEST + 12)) as session:
        assert session.wait(100) == 3
        _clear_words(session.output(), "other programs took the ports", "ports.min")


@contextmanager
def _thief(at: Place, times: int) -> Iterator["subprocess.Popen[str]"]:
    thief = subprocess.Popen(
        [sys.executable, str(THIEF), str(LOWEST), str(LOWEST + 12), str(times)],
        stdout=subprocess.PIPE, text=True, env=environment(at), **user_of_tests().identity(),
    )  # fmt: skip
    try:
        assert thief.stdout
        assert thief.stdout.readline() == "watching\n"
        yield thief
    finally:
        thief.kill()
        thief.communicate()


def _listen(stack: ExitStack, ports: range) -> None:
    for port in ports:
        sock = stack.enter_context(socket.socket())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("" if port % 2 else "127.0.0.1", port))
            sock.listen()
        except OSError:
            continue  # taken already, by somebody else


def _range(lowest: int, highest: int) -> tuple[str, ...]:
    return ("--set", f"ports.min={lowest}", "--set", f"ports.max={highest}")


def _clear_words(output: str, *words: str) -> None:
    assert "Traceback" not in output
    assert all(word in output for word in (*words, "what to do:")), output

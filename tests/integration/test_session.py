"""A session from its start to its end as a user sees it, and every way in which a start can fail."""

import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, assert_gone, command, environment, launched, place, soon, state_of, traces
from tests.support.jupyter import log_in

pytestmark = pytest.mark.integration

READER = Path(__file__).parents[1] / "support" / "connection_reader.py"
KEYS = {"host", "port", "password", "xsrf", "base_url", "spark_master", "spark_ui_path"}


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        yield new


@contextmanager
def reader_of(at: Place, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Reads connection.yml as fast as it can, until its standard input ends; says what it saw."""
    process = subprocess.Popen(
        [sys.executable, str(READER), str(directory / "connection.yml"), *sorted(KEYS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(at), **user_of_tests().identity(),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_whole(at: Place) -> None:
    """Start, connect, compute, stop, start again, end by a signal; connection.yml is true whenever it is there."""
    directory = at.root / "session"
    with reader_of(at, directory) as reader:
        with launched(at, "jupyter-spark") as session:
            seen = traces(session)
            connection = session.connection()
            assert set(connection) == KEYS
            assert stat.S_IMODE((directory / "connection.yml").stat().st_mode) == 0o600
            states = {
                name: (state_of(session, name) or {})["state"] for name in ("jupyter", "spark-worker", "spark-cluster")
            }
            assert states == {"jupyter": "ready", "spark-worker": "running", "spark-cluster": "ready"}
            client = log_in(connection)
            assert client.run(client.start_kernel(), "sc.parallelize(range(1000)).sum()").strip() == "499500"
            assert "taken over by the kernel" in "".join(path.read_text() for path in directory.glob("logs/*-driver-*"))
            commands = [" ".join(psutil.Process(pid).cmdline()) for pid in session.processes()]
            executors = [line for line in commands if "CoarseGrainedExecutorBackend" in line]
            assert executors and not [line for line in executors if "TieredStopAtLevel" in line]  # they do the work
            client.close()
            done = command(at, "stop", directory)
            assert (done.returncode, session.wait()) == (0, 0), done.stderr + session.output()
            assert_gone(session, seen)
            assert not at.left()
        with launched(at, "jupyter-spark") as session:
            seen = traces(session)
            assert session.stop(signal.SIGTERM) == 143
            assert_gone(session, seen)
        told, _ = reader.communicate("")
    reads, complete, appeared, *wrong = told.split("\n")
    print(f"connection.yml was read {reads} times, {complete} times it was there")
    assert wrong == [""], wrong
    assert (int(complete) > 0, int(appeared)) == (True, 2)


def test_both_outcomes_are_told(at: Place) -> None:
    with launched(at, "jupyter") as session:
        session.connection()
        assert session.status()["state"] in ("starting", "ready")
        assert session.stop() == 143
        assert session.status()["state"] == "ended"
        assert "Traceback" not in session.output()
        assert command(at, "stop", session.directory).returncode in (0, 2)


def script(at: Place, name: str, text: str) -> Path:
    path = at.root / name
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_jupyter_that_fails(at: Place) -> None:
    """The end comes at once, not after a time-out, and tells the last lines."""
    jupyter = script(at, "jupyter-lab", "#!/bin/sh\necho 'the licence server is down' >&2\nexit 1\n")
    with launched(at, "jupyter", "--set", f"jupyter.command={jupyter}") as session:
        assert session.wait(10) == 5
        _clear_words(session.output(), "exit status 1", "the licence server is down", "logs/jupyter.log")
        assert session.status()["state"] == "failed"


def test_jupyter_that_never_answers(at: Place) -> None:
    jupyter = script(at, "jupyter-lab", "#!/bin/sh\necho still thinking\nexec sleep 3600\n")
    settings = ("--set", f"jupyter.command={jupyter}", "--set", "timeouts.ready=2")
    with launched(at, "jupyter", *settings) as session:
        assert session.wait(20) == 4
        _clear_words(session.output(), "not ready after 2 s", "still thinking", "timeouts.ready")


def test_jupyter_that_lets_everybody_in(at: Place) -> None:
    """A server that answers, but not as ours, is never announced."""
    code = (
        "import sys, re, http.server as h\n"
        "text = open(sys.argv[1].partition('=')[2]).read()\n"
        "port = int(re.search(r'port\\W+(\\d{5})', text)[1])\n"
        "class Open(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n        self.send_response(200); self.end_headers()\n"
        "    do_POST = do_GET\n"
        "h.HTTPServer(('', port), Open).serve_forever()\n"
    )
    server = script(at, "server.py", code)
    jupyter = script(at, "jupyter-lab", f'#!/bin/sh\nexec {sys.executable} {server} "$@"\n')
    settings = ("--set", f"jupyter.command={jupyter}", "--set", "timeouts.ready=3")
    with launched(at, "jupyter", *settings) as session:
        assert session.wait(20) == 4
        assert "without login 200" in session.output()


def test_master_that_fails(at: Place) -> None:
    """Java is there and says its version, but the master cannot start: at once, with its last lines."""
    with launched(at, "jupyter-spark", "--set", "spark.master_memory=900000g") as session:
        begin = time.monotonic()
        assert session.wait() == 5
        # Its worker boots beside it, with as much memory, and may be the first.
        assert re.search("spark-(master|worker) ended", session.output())
        _clear_words(session.output(), "logs/spark-")
        assert session.output().count("JVM") <= 4  # one try
        assert "restarting" not in (session.directory / "events.jsonl").read_text()
        assert time.monotonic() - begin < 10


def test_java_that_fails(at: Place) -> None:
    (at.root / "java" / "bin").mkdir(parents=True)
    script(at, "java/bin/java", "#!/bin/sh\necho 'no JVM today' >&2\nexit 1\n")
    with launched(at, "jupyter-spark", "--set", f"spark.java_home={at.root}/java") as session:
        assert session.wait(10) == 3
        _clear_words(session.output(), str(at.root / "java"))
        assert not session.directory.exists()


def test_errors_are_told_at_once(at: Place) -> None:
    """All of them, each with its place and its key, and nothing is started."""
    broken = at.root / "mine.yml"
    broken.write_text("spark:\n  worker: {cores: many}\n  wrong_key: 1\nports: {min: 5}\n")
    flags = ("--config", str(broken), "--set", "jupyter.interface=vi", "--set", "timeouts.stop=0", "--set", "nonsense")
    with launched(at, "jupyter-spark", *flags) as session:
        assert session.wait(10) == 2
        keys = ("spark.worker.cores", "wrong_key", "ports.min", "jupyter.interface", "timeouts.stop", "nonsense")
        assert all(key in session.output() for key in keys), session.output()
        assert str(broken) in session.output()
        assert "Traceback" not in session.output()
        assert not session.directory.exists()
        assert not at.left()


@pytest.mark.parametrize(
    ("settings", "status", "word"),
    [
        (("jupyter.command=/nonexistent/jupyter-lab",), 3, "/nonexistent/jupyter-lab"),
        (("spark.home=/nonexistent", "spark.java_home=/nonexistent"), 3, "/nonexistent"),
        (("host=no.such.host.invalid",), 2, "no.such.host.invalid"),
        (("address=192.0.2.1",), 2, "192.0.2.1"),
        (("launcher=lunch",), 2, "lunch"),
    ],
)
def test_what_is_missing(at: Place, settings: tuple[str, ...], status: int, word: str) -> None:
    flags = [word for setting in settings for word in ("--set", setting)]
    with launched(at, "jupyter-spark", *flags) as session:
        assert session.wait(10) == status
        assert word in session.output()
        assert "Traceback" not in session.output()
        assert not session.directory.exists()


def test_unknown_app(at: Place) -> None:
    with launched(at, "jupiter") as session:
        assert session.wait(10) == 2
        assert "jupyter" in session.output()


def test_stop_where_no_session_is(at: Place) -> None:
    done = command(at, "stop", at.root)
    assert done.returncode == 2
    assert "no session in" in done.stderr


def test_foreign_connection_file(at: Place) -> None:
    """What the portal's own shell wrote too early is removed, with a word about it."""
    directory = at.root / "session"
    directory.mkdir(mode=0o700)
    (directory / "connection.yml").write_text("host: x\nport: 1\npassword: old\n")
    with launched(at, "jupyter", directory=directory) as session:
        soon(lambda: "ready:" in session.output() or session.process.poll() is not None, "session", 60)
        assert "did not write" in session.output()
        log_in(session.connection()).close()


def _clear_words(output: str, *words: str) -> None:
    assert "Traceback" not in output
    assert all(word in output for word in (*words, "what to do:")), output

"""The session directory takes no more: before the start, while it runs, at the end."""

from collections.abc import Iterator

import pytest

from tests.support.accounts import user_of_tests
from tests.support.faults import Place, assert_gone, command, kill, pid_of, place, soon, traces
from tests.support.full_disk import small_disk
from tests.support.jupyter import log_in

pytestmark = pytest.mark.integration


@pytest.fixture
def at() -> Iterator[Place]:
    # Where a user makes a mount namespace, root's /tmp seems to be nobody's.
    with place(user_of_tests().home) as new:
        yield new


# How much of a start fits: nothing, the first directories, some of the files, all but the logs or connection.yml.
SIZES = ["size=4k,nr_inodes=3", "size=8k", "size=16k", "size=32k", *(f"size=1m,nr_inodes={n}" for n in range(6, 26, 2))]


@pytest.mark.parametrize("options", SIZES)
def test_full_at_the_start(at: Place, options: str) -> None:
    """A clear end, or a session that works; never half of one."""
    with small_disk(at, "jupyter", options=options) as disk:
        session = disk.session
        soon(lambda: session.process.poll() is not None or (session.directory / "connection.yml").exists(), "end", 60)
        if session.process.poll() is None:
            log_in(session.connection()).close()
            assert session.stop() == 143
        else:
            assert session.wait() in (2, 5), session.output()
            assert "what to do:" in session.output()
            assert "No space left" in session.output()
        assert "Traceback" not in session.output()
        assert not at.left()


@pytest.mark.parametrize("end", ["stop", "SIGTERM", "Jupyter is killed"])
def test_full_while_running(at: Place, end: str) -> None:
    """The session goes on; it can be ended as ever, and nothing is left."""
    with small_disk(at, "jupyter", options="size=4m,nr_inodes=200") as disk:
        session = disk.session
        seen = traces(session)
        disk.fill()
        client = log_in(session.connection())
        assert client.run(client.start_kernel("python3"), "6 * 7").strip() == "42"
        client.close()
        assert session.process.poll() is None
        if end == "stop":
            done = command(at, "stop", session.directory)
            assert done.returncode == 0, done.stderr
            assert session.wait() == 0
        elif end == "SIGTERM":
            assert session.stop() == 143
        else:
            kill(pid_of(session, "jupyter"))
            assert session.wait() == 5
        assert "Traceback" not in session.output()
        assert_gone(session, seen)


def test_full_when_a_service_is_restarted(at: Place) -> None:
    """A full disk does not keep a worker from coming back, nor an application from computing that writes event logs."""
    logs = ("--set", "spark.event_logs.enabled=true")
    with small_disk(at, "jupyter-spark", *logs, options="size=8m,nr_inodes=300") as disk:
        session = disk.session
        client = log_in(session.connection())
        kernel = client.start_kernel()
        assert client.run(kernel, "sc.setLogLevel('ERROR'); sc.parallelize(range(9)).sum()").strip() == "36"
        worker = pid_of(session, "spark-worker")
        disk.fill()
        # More events than fit into what Spark holds back before it writes.
        assert client.run(kernel, "sum(sc.parallelize(range(9), 200).sum() for _ in range(3))").strip() == "108"
        client.close()
        kill(worker)
        soon(lambda: any("worker.args" in argv for pid, argv in session.processes().items() if pid != worker), "worker")
        assert session.process.poll() is None
        assert session.stop() == 143, session.output()
        assert "Traceback" not in session.output()


def test_where_root_is_not_to_be_seen(at: Place) -> None:
    """As in a container that a user may start: what belongs to root, such as /tmp, seems to belong to nobody."""
    with place() as below_tmp, small_disk(below_tmp, "jupyter", options="size=4m") as disk:
        log_in(disk.session.connection()).close()
        assert disk.session.stop() == 143

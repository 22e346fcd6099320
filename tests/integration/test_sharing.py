"""Two notebooks of one session compute at the same moment, and neither is disturbed by the other's end."""

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.conftest import StartSession
from tests.support.jupyter import Connection, JupyterClient
from tests.support.running import RunningSession

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

IDLE_SECONDS = 3
SMALL = ("--set", "spark.worker.cores=2", "--set", "spark.worker.memory=1500m", "--set", "spark.class_data=use")
IDLE = ("--set", f"spark.executor.idle_seconds={IDLE_SECONDS}")
# A task that ends only when a file is there that the other notebook's task makes, or the test: no two of them end
# unless both run at the same moment.
MEET = """
def meet(mine, theirs):
    import os, time
    open(mine, "w").close()
    deadline = time.monotonic() + 150
    while not os.path.exists(theirs):
        if time.monotonic() > deadline:
            raise TimeoutError("waited in vain for " + theirs)
        time.sleep(0.05)
    return "met"
"""
OWN_DRIVER = MEET + "print(sc.parallelize([0], 1).map(lambda _: meet({mine!r}, {theirs!r})).first())"
SHARED_DRIVER = MEET + (
    "from pyspark.sql.functions import udf\n"
    "one = spark.range(0, 1, 1, 1)\n"
    "print(one.select(udf(lambda _: meet({mine!r}, {theirs!r}))('id')).first()[0])"
)
SUM_OF_SHARED = "spark.range(0, 1000, 1, 2).selectExpr('sum(id)').first()[0]"
LogIn = Callable[[Connection], JupyterClient]


def compute_together(client: JupyterClient, kernels: list[str], code: str, place: Path) -> None:
    """Both notebooks run a task, each of which waits for the other's."""
    files = [str(place / "one"), str(place / "two")]
    cells = [code.format(mine=mine, theirs=theirs) for mine, theirs in (files, files[::-1])]
    with ThreadPoolExecutor() as pool:
        assert [said.split()[-1] for said in pool.map(client.run, kernels, cells)] == ["met", "met"]


def kill_one(client: JupyterClient, kernels: list[str], code: str, place: Path) -> None:
    """The first notebook's kernel is killed while both run a task: the second one's goes on, to its end."""
    pid = int(client.run(kernels[0], "import os; os.getpid()"))
    started, go = place / "started", place / "go"
    with ThreadPoolExecutor() as pool:
        doomed = client.channels(kernels[0])
        client.send(doomed, code.format(mine=str(place / "doomed"), theirs=str(place / "never")))
        survivor = pool.submit(client.run, kernels[1], code.format(mine=str(started), theirs=str(go)))
        try:
            for name in ("doomed", "started"):
                while not (place / name).exists():
                    assert not survivor.done(), survivor.result()
                    time.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
            assert not survivor.done()
        finally:
            go.touch()
            (place / "never").touch()
        assert survivor.result().split()[-1] == "met"
        doomed.close()


def test_fair_notebooks_compute_at_the_same_time(
    start_session: StartSession, log_in_to: LogIn, short_tmp: Path
) -> None:
    client = log_in_to(start_session("jupyter-spark", *SMALL, *IDLE).connection())
    kernels = [client.start_kernel(), client.start_kernel()]
    compute_together(client, kernels, OWN_DRIVER, short_tmp)
    assert client.run(kernels[0], "sc.getConf().get('spark.cores.max')") == "'2'"
    # What an idle notebook holds is given back, also after a shuffle, and it gets it again.
    client.run(kernels[0], "sc.parallelize(range(9)).map(lambda x: (x % 3, x)).groupByKey().count()")
    client.run(kernels[0], "import time\nwhile sc._jsc.sc().getExecutorIds().size(): time.sleep(0.1)")
    assert client.run(kernels[0], "sc.parallelize(range(1000), 2).sum()") == "499500"
    kill_one(client, kernels, OWN_DRIVER, short_tmp)
    assert client.run(kernels[1], "sc.parallelize(range(1000), 2).sum()") == "499500"


def test_notebooks_that_share_a_driver(start_session: StartSession, log_in_to: LogIn, short_tmp: Path) -> None:
    session = start_session("jupyter-spark", *SMALL, *IDLE, "--set", "spark.sharing=connect")
    client = log_in_to(session.connection())
    kernels = [client.start_kernel("pyspark-shared"), client.start_kernel("pyspark-shared")]
    compute_together(client, kernels, SHARED_DRIVER, short_tmp)
    assert "'<sc is not there in a shared notebook" in client.run(kernels[0], "repr(sc)")
    token = (session.directory / "ood-runtime/spark/connect.token").read_text()
    assert not [line for line in session.processes().values() if token in line]
    _views_are_each_ones_own(client, kernels)
    kill_one(client, kernels, SHARED_DRIVER, short_tmp)
    # There is room for a notebook with a driver of its own.
    own = client.start_kernel("pyspark")
    assert client.run(own, "sc.parallelize(range(1000), 2).sum()") == "499500"
    client.end_kernel(own)
    _the_server_dies(session, client, kernels[1], token)


def _views_are_each_ones_own(client: JupyterClient, kernels: list[str]) -> None:
    client.run(kernels[0], "spark.range(3).createOrReplaceTempView('mine')")
    assert client.run(kernels[0], "sql('select count(*) from mine').first()[0]") == "3"
    with pytest.raises(AssertionError, match="TABLE_OR_VIEW_NOT_FOUND"):
        client.run(kernels[1], "sql('select count(*) from mine').first()")


def _the_server_dies(session: RunningSession, client: JupyterClient, kernel: str, token: str) -> None:
    """It is started again, with another token, and the notebook is told and goes on."""
    client.run(kernel, "frame = spark.range(5)")
    (pid,) = [pid for pid, line in session.processes().items() if "connect.args" in line]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=20)
    said = client.run(kernel, SUM_OF_SHARED)
    assert said.endswith("499500")
    assert "started again: spark is a new session" in re.sub(r"\s+", " ", said)
    (server,) = [s for s in _services(session) if s["name"] == "spark-connect"]
    assert (server["state"], server["restarts"]) == ("ready", 1)
    assert (session.directory / "ood-runtime/spark/connect.token").read_text() != token


def _services(session: RunningSession) -> list[dict[str, object]]:
    services = session.status()["services"]
    assert isinstance(services, list)
    return services

"""The PySpark kernel on a real Spark cluster with authentication: answers at once, and leaves no Java behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ood_runtime.render import render
from tests.support.kernels import WITHIN, Cluster, Kernel, running_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SUM = "sc.parallelize(range(1000)).sum()"


@pytest.fixture(scope="module", params=["4", "3.5"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(request.param, tmp_path_factory.mktemp("spark")) as cluster:
        yield cluster


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    kernels: list[Kernel] = []

    def start(program: Path | None = None, directory: Path | None = None, **environment: str) -> Kernel:
        write_scripts(cluster, tmp_path, program)
        kernels.append(Kernel(cluster, tmp_path, environment, directory))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.end()


def write_scripts(cluster: Cluster, place: Path, program: Path | None = None) -> None:
    submit = program or cluster.home / "bin/spark-submit"
    java = [str(submit), "--properties-file", str(cluster.properties), "pyspark-shell"]
    startup = place / "pyspark_startup.py"
    places = {"log_dir": str(place), "drivers_dir": str(place), "warm": str(place / "warm")}
    startup.write_text(render("pyspark_startup.py.j2", java=java, **places))
    names = {name: value for name, value in cluster.environment.items() if value}
    values = {"python": sys.executable, "environment": {**names, "PYTHONSTARTUP": str(startup)}}
    (place / "pyspark_kernel.sh").write_text(render("pyspark_kernel.sh.j2", **values))


@pytest.fixture
def warm(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[str], psutil.Process]]:
    """Starts what keeps a driver warm; its Java, which has opened its gateway when that is all."""
    keepers: list[subprocess.Popen[bytes]] = []

    def warm(mode: str) -> psutil.Process:
        write_scripts(cluster, tmp_path)
        argv = ["/bin/sh", str(tmp_path / "pyspark_kernel.sh"), "--warm", mode]
        keepers.append(subprocess.Popen(argv, cwd="/"))
        while not (tmp_path / "warm").exists() or (mode == "gateway" and not [*tmp_path.glob("pyspark-*/gateway")]):
            assert keepers[-1].poll() is None
            time.sleep(0.05)
        (java,) = psutil.Process(keepers[-1].pid).children()
        return java

    yield warm
    for keeper in keepers:
        keeper.kill()
        keeper.wait()


def logs(place: Path) -> str:
    return "".join(path.read_text() for path in place.glob("pyspark-driver-*.log"))


def test_the_first_cell_and_what_a_notebook_does_next(start: Callable[..., Kernel], tmp_path: Path) -> None:
    own = tmp_path / "users.py"
    own.write_text("mine = 'ran'\n")
    kernel = start(PYTHONSTARTUP=str(own))
    # Java cannot have answered yet: this cell does not wait for it.
    assert kernel.run("import os\nprint('here')") == "here\n"
    assert kernel.run(SUM) == "499500"
    assert kernel.run("mine") == "'ran'"
    same = "(SparkSession.getActiveSession() is spark, SparkSession.builder.getOrCreate() is spark)"
    assert kernel.run(same) == "(True, True)"
    assert kernel.run("[name for name in os.environ if 'GATEWAY' in name]") == "[]"
    assert kernel.run("sql('select 1 + 1 as two').collect()") == "[Row(two=2)]"
    assert kernel.run("sc.stop(); spark = SparkSession.builder.getOrCreate(); sc = spark.sparkContext") == ""
    assert kernel.run(SUM) == "499500"
    assert [path for path in tmp_path.glob("pyspark-*") if path.is_dir()] == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.glob("pyspark-driver-*.log"))


def test_an_interrupt_cancels_the_jobs(start: Callable[..., Kernel]) -> None:
    kernel = start()
    assert kernel.run(SUM) == "499500"
    # The interrupt comes from the JVM's own view of the job, so that it is never too early.
    interrupter = """import os, signal, threading, time
def interrupt():
    while not sc.statusTracker().getActiveJobsIds(): time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt).start()
sc.parallelize(range(2), 2).map(lambda _: time.sleep(600)).count()"""
    assert "KeyboardInterrupt" in kernel.run(interrupter)
    assert kernel.run("while sc.statusTracker().getActiveJobsIds(): time.sleep(0.1)") == ""
    assert kernel.run(SUM) == "499500"


def test_a_restart_leaves_no_java(start: Callable[..., Kernel]) -> None:
    kernel = start()
    assert kernel.run(SUM) == "499500"
    before = kernel.processes()
    assert before
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=20)
    assert not psutil.wait_procs(before, timeout=20)[1]
    assert kernel.run(SUM) == "499500"


def test_java_ends_with_a_killed_kernel(start: Callable[..., Kernel]) -> None:
    kernel = start()
    assert kernel.run("sc.version")
    before = kernel.processes()
    assert before
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    assert not [p for p in psutil.wait_procs(before, timeout=20)[1] if p.status() != psutil.STATUS_ZOMBIE]


def test_why_spark_did_not_start_and_the_next_try(
    start: Callable[..., Kernel], cluster: Cluster, tmp_path: Path
) -> None:
    program = tmp_path / "java"
    program.write_text("#!/bin/sh\necho 'no memory' >&2\nexit 7\n")
    program.chmod(0o755)
    kernel = start(program)
    said = kernel.run("sc.version")
    assert said.startswith("SparkNotReady: Spark did not start: RuntimeError: the driver's Java ended with status 7")
    log = re.search(r"see (\S+);", said)
    assert log is not None and "no memory" in Path(log[1]).read_text()
    assert kernel.run("x = 1") == ""  # what does not name Spark runs
    assert "SparkNotReady" in kernel.run("def version():\n    return sc.version")
    program.write_text(f'#!/bin/sh\nexec {json.dumps(str(cluster.home / "bin/spark-submit"))} "$@"\n')
    assert kernel.run(SUM) == "499500"
    assert kernel.run("sc.version").startswith("'")


def test_java_that_cannot_tell_how_it_is_reached(start: Callable[..., Kernel], tmp_path: Path) -> None:
    """Its main thread ends, and others keep it alive: nobody waits for it, and it does not stay."""
    kernel = start()
    while not (places := [path for path in tmp_path.glob("pyspark-*") if path.is_dir()]):
        time.sleep(0.01)
    places[0].rmdir()
    said = kernel.run("sc.version")
    assert "RuntimeError: the driver's Java could not tell how it is reached" in said
    assert kernel.processes() == []
    assert kernel.run(SUM) == "499500"


def test_an_interrupt_while_waiting(start: Callable[..., Kernel]) -> None:
    kernel = start()
    request = kernel.client.execute("sc")
    while kernel.client.get_iopub_msg(timeout=WITHIN)["msg_type"] != "execute_input":
        pass
    # ipykernel never answers a cell that is interrupted between this message and its start.
    time.sleep(1)
    kernel.manager.interrupt_kernel()
    # Answers to what wait_for_ready asked may come first.
    while (reply := kernel.client.get_shell_msg(timeout=WITHIN))["parent_header"]["msg_id"] != request:
        pass
    assert reply["content"]["ename"] in ("SparkNotReady", "KeyboardInterrupt")
    assert kernel.run(SUM) == "499500"


def test_a_warm_driver_with_its_context(
    start: Callable[..., Kernel], warm: Callable[[str], psutil.Process], tmp_path: Path
) -> None:
    """Taken over once, from another directory, and gone with the kernel; the next one has its own."""
    java = warm("context")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/lines.txt").write_text("a\nb\n")
    kernel, second = start(directory=tmp_path / "data"), start()
    assert kernel.run(SUM) == "499500"
    assert second.run("sc.version").startswith("'")
    second.end()
    relative = "(spark.read.text('lines.txt').count(), sc.textFile('lines.txt').count(), sc.addFile('lines.txt'))"
    assert kernel.run(relative) == "(2, 2, None)"
    assert kernel.run("spark.conf.get('spark.sql.warehouse.dir')") == f"'file:{tmp_path}/data/spark-warehouse'"
    assert kernel.run("total = sc.accumulator(0)\nsc.parallelize(range(10)).foreach(total.add)\ntotal.value") == "45"
    assert kernel.run("sc.stop(); sc = SparkContext.getOrCreate(); sc.appName") == "'test'"
    assert "taken over by the kernel" in logs(tmp_path) and "not the session's warm one" in logs(tmp_path)
    assert java.is_running()
    kernel.manager.restart_kernel()
    kernel.client.wait_for_ready(timeout=20)
    assert not [p for p in psutil.wait_procs([java], timeout=20)[1] if p.status() != psutil.STATUS_ZOMBIE]
    assert kernel.run(SUM) == "499500"


def test_a_warm_driver_that_does_not_answer(
    start: Callable[..., Kernel], warm: Callable[[str], psutil.Process], tmp_path: Path
) -> None:
    java = warm("gateway")
    java.suspend()
    kernel = start()
    assert kernel.run(SUM) == "499500"
    assert "the session's warm driver is no use, a new one starts: TimeoutError" in logs(tmp_path)
    assert not [p for p in psutil.wait_procs([java], timeout=20)[1] if p.status() != psutil.STATUS_ZOMBIE]


def test_settings_that_come_too_late_are_named(
    start: Callable[..., Kernel], warm: Callable[[str], psutil.Process], tmp_path: Path
) -> None:
    """In a driver of the kernel's own, since the warm one was killed: it is the same for both."""
    warm("gateway").kill()
    kernel = start()
    builder = "SparkSession.builder.appName('mine').config('spark.executor.memory', '600m')"
    more = ".config('spark.driver.memory', '3g').config('spark.sql.shuffle.partitions', 3).config('spark.own', 1)"
    said = kernel.run(builder + more + ".getOrCreate()\nprint(spark.conf.get('spark.sql.shuffle.partitions'))")
    assert "not take any more: spark.app.name, spark.executor.memory\n" in said
    assert "not take any more: spark.driver.memory\n" in said and "3\n" in said
    said = kernel.run("spark.stop()\nspark = " + builder + ".getOrCreate()\nprint(spark.sparkContext.appName)")
    assert said == "mine\n"
    said = kernel.run(
        "import os\nos.environ['PYSPARK_SUBMIT_ARGS'] = '--packages a:b:c'\nSparkSession.builder.getOrCreate();"
    )
    assert "not take any more: PYSPARK_SUBMIT_ARGS\n" in said
    assert "the session's warm" in logs(tmp_path)

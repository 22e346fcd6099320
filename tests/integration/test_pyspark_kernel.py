"""The PySpark kernel on a real Spark cluster with authentication: answers at once, and leaves no Java behind."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from ood_runtime.render import render
from tests.support.needs import need_java, need_spark35

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parent.parent.parent
WITHIN = 240  # seconds, of a busy machine
SUM = "sc.parallelize(range(1000)).sum()"


@dataclass(frozen=True)
class Cluster:
    home: Path
    directory: Path
    properties: Path
    environment: dict[str, str]


class Kernel:
    """A kernel under test, started from the packaged kernelspec."""

    def __init__(self, cluster: Cluster, directory: Path, environment: dict[str, str]) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(REPOSITORY / "kernelspecs")])
        self.manager = KernelManager(kernel_name="pyspark", kernel_spec_manager=specs, transport="ipc")
        self.manager.connection_file = str(directory / "connection.json")
        script = str(directory / "pyspark_kernel.sh")
        self.manager.start_kernel(env={**os.environ, **environment, "OOD_RUNTIME_PYSPARK_KERNEL": script})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=20)

    def run(self, code: str) -> str:
        """A cell's output and result; its error in words."""
        output: list[str] = []

        def collect(message: dict[str, dict[str, object]]) -> None:
            content = message["content"]
            if "evalue" in content:
                output.append(f"{content['ename']}: {content['evalue']}")
            elif "text" in content or "data" in content:
                data = content.get("data", {})
                assert isinstance(data, dict)
                output.append(str(content.get("text", data.get("text/plain", ""))))

        self.client.execute_interactive(code, timeout=WITHIN, output_hook=collect)
        return "".join(output)

    def processes(self) -> list[psutil.Process]:
        pid = self.manager.provisioner.pid  # type: ignore[union-attr]
        return psutil.Process(pid).children(recursive=True)

    def end(self) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()


@pytest.fixture(scope="module", params=["4", "3.5"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("spark")
    if request.param == "4":
        pyspark = pytest.importorskip("pyspark")
        home, python_path = Path(pyspark.__file__).parent, ""
    else:
        home = need_spark35()
        python_path = ":".join([str(home.parent), *map(str, (home / "python/lib").glob("py4j*.zip"))])
    (directory / "conf").mkdir()
    properties = directory / "spark.properties"
    common = f"spark.authenticate true\nspark.authenticate.secret {secrets.token_hex(32)}\nspark.ui.enabled false\n"
    properties.write_text(common + "spark.master.rest.enabled false\n")
    environment = {
        "SPARK_HOME": str(home),
        "JAVA_HOME": str(need_java(17)),
        "SPARK_CONF_DIR": str(directory / "conf"),
        "SPARK_LOCAL_DIRS": str(directory),
        "SPARK_WORKER_DIR": str(directory / "work"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": python_path,
    }
    made = Cluster(home, directory, properties, environment)
    daemons = []
    try:
        daemons.append(daemon(made, "master.Master"))
        master = wait_for(made, "master.Master", r"Starting Spark master at (\S+)")
        daemons.append(daemon(made, "worker.Worker", "--cores", "2", "--memory", "1g", master))
        wait_for(made, "worker.Worker", r"(Successfully registered)")
        address = "spark.driver.host 127.0.0.1\nspark.driver.bindAddress 127.0.0.1\nspark.executor.memory 512m\n"
        properties.write_text(f"{common}spark.master {master}\nspark.app.name test\n{address}")
        yield made
    finally:
        for process in reversed(daemons):
            process.terminate()
            process.wait(60)


def daemon(cluster: Cluster, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
    places = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0", "--properties-file", str(cluster.properties)]
    with (cluster.directory / name).open("wb") as log:
        return subprocess.Popen(
            [cluster.home / "bin/spark-class", f"org.apache.spark.deploy.{name}", *places, *arguments],
            env=os.environ | cluster.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def wait_for(cluster: Cluster, name: str, pattern: str) -> str:
    deadline = time.monotonic() + WITHIN
    while not (match := re.search(pattern, (cluster.directory / name).read_text())):
        assert time.monotonic() < deadline, (cluster.directory / name).read_text()
        time.sleep(0.1)
    return match[1]


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    kernels: list[Kernel] = []

    def start(program: Path | None = None, **environment: str) -> Kernel:
        submit = program or cluster.home / "bin/spark-submit"
        java = [str(submit), "--properties-file", str(cluster.properties), "pyspark-shell"]
        startup = tmp_path / "pyspark_startup.py"
        places = {"log_dir": str(tmp_path), "scratch_dir": str(tmp_path)}
        startup.write_text(render("pyspark_startup.py.j2", java=java, **places))
        names = {name: value for name, value in cluster.environment.items() if value}
        values = {"python": sys.executable, "environment": {**names, "PYTHONSTARTUP": str(startup)}}
        (tmp_path / "pyspark_kernel.sh").write_text(render("pyspark_kernel.sh.j2", **values))
        kernels.append(Kernel(cluster, tmp_path, environment))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.end()


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

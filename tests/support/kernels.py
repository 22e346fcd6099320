"""The PySpark kernel without a session: a real cluster with authentication, and the kernel from the kernelspec."""

import os
import re
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from tests.support.needs import need_java, need_spark35

REPOSITORY = Path(__file__).parent.parent.parent
WITHIN = 240  # seconds, of a busy machine


@dataclass(frozen=True)
class Cluster:
    home: Path
    directory: Path
    properties: Path
    environment: dict[str, str]


class Kernel:
    """A kernel under test, started in ``cwd`` from the packaged kernelspec; its scripts are in ``directory``."""

    def __init__(self, cluster: Cluster, directory: Path, environment: dict[str, str], cwd: Path | None = None) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(REPOSITORY / "kernelspecs")])
        self.manager = KernelManager(kernel_name="pyspark", kernel_spec_manager=specs, transport="ipc")
        self.manager.connection_file = str(directory / f"connection-{uuid.uuid4().hex[:8]}.json")
        script = str(directory / "pyspark_kernel.sh")
        self.manager.start_kernel(env={**os.environ, **environment, "OOD_RUNTIME_PYSPARK_KERNEL": script}, cwd=cwd)
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


@contextmanager
def running_cluster(release: str, directory: Path) -> Iterator[Cluster]:
    """A master and a worker with two cores of Spark 4 or 3.5; ``directory`` is theirs."""
    if release == "4":
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

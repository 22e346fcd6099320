"""Real masters, workers and applications of Spark 3.5 and 4, with a gateway before them; and a stranger who asks."""

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ood_runtime import secret, spark_ui, ui_filter
from ood_runtime.gateway_probes import LOGIN
from ood_runtime.render import properties_file
from ood_runtime.secret import Secret
from tests.support.needs import missing, need_java, need_spark35

HOST = "127.0.0.1"
PATIENCE = 90  # seconds for one interface to come up
API = "/api/v1/applications"
PATHS = {
    "master": ["/json/", "/static/webui.js", "/metrics/master/json/", "/metrics/applications/json/"],
    "worker": ["/json/", "/static/webui.js", "/metrics/json/"],
    "application": ["/jobs/", "/executors/", "/environment/", API, "/static/webui.js", "/metrics/json/"],
}
# Holds an application open, without executors, until its standard input ends. A query that needs none is answered, and
# a job that does waits.
APPLICATION = """import sys, threading
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("open").getOrCreate()
threading.Thread(target=lambda: spark.sparkContext.parallelize([1]).count(), daemon=True).start()
spark.sql("SELECT 1 AS one").collect()
sys.stdin.read()"""
PREFIX = "/rnode/node1/1"  # of the gateway


@dataclass
class Interface:
    """One web interface, and what it answered to a stranger since before it listened."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    answers: list[tuple[str, int, bytes]] = field(default_factory=list)


@dataclass
class Cluster:
    """A master, a worker and an application."""

    release: tuple[int, int]
    key: Secret
    interfaces: list[Interface]
    gateway: int
    entry: Secret


def spark_home(series: str) -> Path:
    if series == "3.5":
        return need_spark35()
    spec = importlib.util.find_spec("pyspark")
    return Path(spec.origin).parent if spec and spec.origin else missing("needs the package pyspark")


def free_port() -> int:
    with socket.socket() as held:
        held.bind((HOST, 0))
        return int(held.getsockname()[1])


def ask(port: int, path: str, authorization: str = "", method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, headers={"Authorization": authorization} if authorization else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def stranger(interface: Interface) -> Iterator[None]:
    """Ask without a key, as fast as it goes, all the time."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.is_set():
            for path in ["/", *PATHS[interface.name]]:
                try:
                    interface.answers.append((path, *ask(interface.port, path)))
                except (OSError, http.client.HTTPException):
                    ended.wait(0.001)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait_until_complete(interface: Interface, header: str) -> None:
    """Wait until a stranger was refused at every path, and the application tells us about itself."""

    def complete() -> bool:
        refused = {path for path, status, _ in interface.answers[:] if status == 403}
        return refused == {"/", *PATHS[interface.name]} and (
            interface.name != "application" or ask(interface.port, API, header)[1].startswith(b"[")
        )

    deadline = time.monotonic() + PATIENCE
    while not complete():
        assert interface.process.poll() is None, interface.log.read_text()
        assert time.monotonic() < deadline, (interface.answers[-20:], interface.log.read_text())
        time.sleep(0.05)


@contextmanager
def program(arguments: list[str], env: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            env={"PATH": os.environ["PATH"], "SPARK_LOCAL_IP": HOST, **env},
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def properties(directory: Path, extra: Mapping[str, str]) -> Path:
    base = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret.key().reveal(),
        "spark.master.rest.enabled": "false",
        "spark.port.maxRetries": "0",
        "spark.driver.host": HOST,
        # More than there is: the application stays without executors.
        "spark.executor.memory": "999g",
        "spark.ui.killEnabled": "false",
        **spark_ui.reverse_proxy(PREFIX, "node1"),
    }
    path = directory / "spark.properties"
    path.write_text(properties_file(base | dict(extra)))
    return path


def compiled(home: Path, directory: Path) -> str:
    jars = sorted((home / "jars").glob("*.jar"))
    return str(ui_filter.compile_filter(need_java(17) / "bin" / "java", jars, directory))


def environment(home: Path, directory: Path, settings: Path, class_path: str) -> dict[str, str]:
    (directory / "empty").mkdir()
    python_path = [home.parent, *(home / "python" / "lib").glob("py4j-*-src.zip")]
    return {
        "JAVA_HOME": str(need_java(17)),
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(directory / "empty"),
        "SPARK_DAEMON_CLASSPATH": class_path,
        "SPARK_WORKER_DIR": str(directory / "work"),
        "PYTHONPATH": os.pathsep.join(map(str, python_path)),
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {settings} pyspark-shell",
    }


def commands(home: Path, settings: Path, rpc: int, ports: Mapping[str, int]) -> dict[str, list[str]]:
    daemon, package = str(home / "bin" / "spark-class"), "org.apache.spark.deploy"
    common = ["--host", HOST, "--properties-file", str(settings), "--webui-port"]
    master = [f"{package}.master.Master", *common, str(ports["master"]), "--port", str(rpc)]
    worker = [f"{package}.worker.Worker", *common, str(ports["worker"]), f"spark://{HOST}:{rpc}"]
    application = [sys.executable, "-c", APPLICATION]
    return {"master": [daemon, *master], "worker": [daemon, *worker], "application": application}


@contextmanager
def running(series: str, directory: Path) -> Iterator[Cluster]:
    """A cluster of Spark "3.5" or "4"."""
    home = spark_home(series)
    release, key = (3, 5) if series == "3.5" else (4, 0), secret.key()
    class_path = compiled(home, directory) if ui_filter.needs_compile(release) else ""
    rpc, ports = free_port(), {name: free_port() for name in PATHS}
    own = {"spark.master": f"spark://{HOST}:{rpc}", "spark.ui.port": str(ports["application"])}
    if class_path:
        own["spark.driver.extraClassPath"] = class_path
    settings = properties(directory, {**ui_filter.conf(release, key), **own})
    env = environment(home, directory, settings, class_path)
    with ExitStack() as stack:
        interfaces = []
        for name, command in commands(home, settings, rpc, ports).items():
            log = directory / f"{name}.log"
            interface = Interface(name, ports[name], stack.enter_context(program(command, env, log)), log)
            with stranger(interface):
                wait_until_complete(interface, ui_filter.authorization(release, key).reveal())
            interfaces.append(interface)
        entry, port = secret.password(), free_port()
        header = ui_filter.authorization(release, key)
        stack.enter_context(gateway(directory, port, entry, ports["master"], header))
        yield Cluster(release, key, interfaces, port, entry)


@contextmanager
def gateway(directory: Path, port: int, entry: Secret, master: int, header: Secret) -> Iterator[None]:
    """The gateway, before the master."""
    target = {"address": HOST, "port": master, "headers": {"Authorization": header.reveal()}}
    listens = {"address": HOST, "port": port, "prefix": PREFIX, "login": LOGIN}
    file = directory / "gateway.json"
    file.write_text(json.dumps({**listens, "secret": entry.reveal(), "target": target}))
    command = [sys.executable, "-m", "ood_runtime.gateway_server", str(file)]
    with program(command, {"PYTHONPATH": os.pathsep.join(sys.path)}, directory / "gateway.log") as process:
        deadline = time.monotonic() + PATIENCE
        while not reaches(port):
            assert process.poll() is None and time.monotonic() < deadline, (directory / "gateway.log").read_text()
            time.sleep(0.05)
        yield


def reaches(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0

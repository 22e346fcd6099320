"""Real masters, workers and applications of Spark 3.5 and 4: what their web interfaces tell to whom."""

import http.client
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from ood_runtime import secret, ui_filter
from ood_runtime.render import properties_file
from ood_runtime.secret import Secret
from tests.support.needs import missing, need_java, need_spark35

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

HOST = "127.0.0.1"
PATIENCE = 90  # seconds for one interface to come up
API = "/api/v1/applications"
PATHS = {
    "master": ["/json/", "/static/webui.js", "/metrics/master/json/", "/metrics/applications/json/"],
    "worker": ["/json/", "/static/webui.js", "/metrics/json/"],
    "application": ["/jobs/", "/executors/", "/environment/", API, "/static/webui.js", "/metrics/json/"],
}
# Holds an application open, without executors, until its standard input ends.
APPLICATION = "import sys, pyspark; pyspark.SparkContext(appName='open'); sys.stdin.read()"


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


@pytest.fixture(scope="module", params=["3.5", "4"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home, directory = spark_home(request.param), tmp_path_factory.mktemp("cluster")
    release, key = (3, 5) if request.param == "3.5" else (4, 0), secret.key()
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
        yield Cluster(release, key, interfaces)


def test_a_stranger_learns_nothing_from_the_first_moment_on(cluster: Cluster) -> None:
    for interface in cluster.interfaces:
        answers = interface.answers[:]
        # 404: it listens, and serves nothing yet.
        assert {status for _, status, _ in answers} <= {403, 404}
        assert not any(b"spark://" in body for _, _, body in answers)
        if ui_filter.needs_compile(cluster.release):
            assert {body for _, status, body in answers if status == 403} == {b""}


def test_the_key_opens_every_page(cluster: Cluster) -> None:
    header = ui_filter.authorization(cluster.release, cluster.key).reveal()
    for interface in cluster.interfaces:
        for path in PATHS[interface.name]:
            assert ask(interface.port, path, header)[0] == 200, (interface.name, path)


def test_nothing_else_opens_a_page(cluster: Cluster) -> None:
    other = ui_filter.authorization(cluster.release, secret.key()).reveal()
    right = ui_filter.authorization(cluster.release, cluster.key).reveal()
    wrong = [
        other,
        "Bearer",
        "Bearer ",
        right[:-2],
        right + "A",
        right.removeprefix("Bearer "),
        "Basic" + right[6:],
    ]
    for interface in cluster.interfaces:
        for path in ["/", *PATHS[interface.name]]:
            assert {ask(interface.port, path, header)[0] for header in wrong} == {403}


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_gets_in(cluster: Cluster, method: str) -> None:
    for interface in cluster.interfaces:
        for path in ["/", "/app/kill/", "/driver/kill/", "/jobs/job/kill/", *PATHS[interface.name]]:
            # 405: TRACE is refused before anything else.
            assert ask(interface.port, path, method=method)[0] in {403, 405}, (interface.name, path)


@pytest.mark.parametrize("path", ["//json/", "/json/;x=y", "/static/../json/", "/%6ason/", "/proxy/x/", "/./jobs/"])
def test_no_other_spelling_gets_in(cluster: Cluster, path: str) -> None:
    for interface in cluster.interfaces:
        assert ask(interface.port, path)[0] in {400, 403, 404}, interface.name


def test_the_key_shows_on_no_page(cluster: Cluster) -> None:
    header = ui_filter.authorization(cluster.release, cluster.key).reveal()
    application = cluster.interfaces[-1]
    name = next(name for name in ui_filter.conf(cluster.release, cluster.key) if ".param." in name)
    listed = json.loads(ask(application.port, API, header)[1])
    environment = f"{API}/{listed[0]['id']}/environment"
    page, answer = (ask(application.port, path, header)[1].decode() for path in ["/environment/", environment])
    assert [name, "*********(redacted)"] in json.loads(answer)["sparkProperties"]
    assert cluster.key.reveal() not in page + answer


def test_the_key_is_in_no_log_and_no_command_line(cluster: Cluster) -> None:
    processes = {psutil.Process(interface.process.pid) for interface in cluster.interfaces}
    processes |= {child for parent in processes for child in parent.children(recursive=True)}
    seen = [interface.log.read_text() for interface in cluster.interfaces]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            seen.append(" ".join(process.cmdline()))
    assert "org.apache.spark.deploy.master.Master" in "".join(seen)
    for value in [cluster.key, ui_filter.jws_token(cluster.key)]:
        assert value.reveal() not in "".join(seen)


@pytest.mark.parametrize("lacking", ["class", "token"])
def test_an_interface_that_cannot_be_closed_does_not_start(lacking: str, tmp_path: Path) -> None:
    home = spark_home("3.5")
    conf = {} if lacking == "token" else ui_filter.bearer_conf(secret.key())
    settings = properties(tmp_path, {"spark.ui.filters": ui_filter.CLASS_NAME, **conf})
    env = environment(home, tmp_path, settings, "" if lacking == "class" else compiled(home, tmp_path))
    port = free_port()
    command = commands(home, settings, 0, {"master": port, "worker": 0})["master"]
    with program(command, env, tmp_path / "master.log") as process:
        interface = Interface("master", port, process, tmp_path / "master.log")
        with stranger(interface):
            process.wait(PATIENCE)
    assert process.returncode != 0
    assert {status for _, status, _ in interface.answers} <= {404}
    assert ui_filter.CLASS_NAME in interface.log.read_text()


@pytest.mark.parametrize("name", ["plain", "with 'quotes\" and blanks", "naïve-ünïcode"])
def test_the_filter_compiles_in_any_directory_under_any_locale(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    directory = tmp_path / name
    directory.mkdir()
    with zipfile.ZipFile(compiled(spark_home("3.5"), directory)) as content:
        assert content.read("ood_runtime/BearerTokenFilter.class").startswith(b"\xca\xfe\xba\xbe")

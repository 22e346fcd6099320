"""The only place that knows the work which class-data archives are trained with.

A master, a worker, a driver and an executor run on the loopback address, secured as in a session.
"""

import base64
import contextlib
import hmac
import os
import re
import secrets
import signal
import struct
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ood_runtime import class_data, java, kernel, render
from ood_runtime.errors import NotReadyError, ServiceDiedError
from ood_runtime.java import Java
from ood_runtime.spark_home import Spark

# Seconds: at idle priority on a busy node everything takes many times as long as it should.
_TIMEOUT = 900
_GRACE = 10
_LOOPBACK = "127.0.0.1"

# What the first cells of a notebook do: a context, a sum, a small data frame.
_JOB = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
assert sc.parallelize(range(1000)).sum() == 499500
sc.parallelize(range(100)).map(lambda x: (x % 3, x)).groupByKey().count()
frame = spark.range(1000).selectExpr("id", "id % 7 as k", "cast(id as string) as s")
frame.groupBy("k").count().orderBy("k").collect()
frame.show(3)
print("worked", flush=True)
input()
spark.stop()
"""


@dataclass(frozen=True)
class Trained:
    """What one archive is made of."""

    classes: tuple[str, ...]
    options: tuple[str, ...]
    classpath: str


@dataclass(frozen=True)
class _Cluster:
    """Where a training runs, and with what."""

    java: Java
    spark: Spark
    work: Path
    conf_dir: Path
    python: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self, name: str, argv: Sequence[str], stdin: int = subprocess.DEVNULL, **env: str
    ) -> subprocess.Popen[bytes]:
        """Start a program of the cluster; its output goes to NAME.log."""
        with (self.work / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv,
                env={**self._environment(), **env},
                cwd=self.work,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: kernel.die_with_parent(signal.SIGKILL),  # noqa: PLW1509  (builders have one thread)
            )
        self.processes.append(process)
        return process

    def jvm(self, name: str, main: str, *arguments: str, driver: bool = False) -> list[str]:
        """The command of a JVM that notes its classes in NAME.classes."""
        path = class_data.classpath(self.spark) if driver else class_data.daemon_classpath(self.spark)
        noting = [*options(self.java, self.spark, vector=driver), *self.note(name), "-Xmx512m", "-cp", path]
        return [str(self.java.executable), *noting, f"org.apache.spark.deploy.{main}", *arguments]

    def note(self, name: str) -> tuple[str, ...]:
        """The options that make a JVM note its classes in NAME.classes, and leave no file of its own in /tmp."""
        return f"-XX:DumpLoadedClassList={self.work / name}.classes", *class_data.temporary_options(None)

    def wait(self, name: str, pattern: str) -> str:
        """Wait until the log of a program matches ``pattern``; the last group of the match."""
        log = self.work / f"{name}.log"
        deadline = time.monotonic() + _TIMEOUT
        while not (match := re.search(pattern, text := log.read_text("utf-8", "replace"))):
            self.check(name, text, deadline)
        return match[match.lastindex or 0]

    def check(self, name: str, said: str, deadline: float) -> None:
        """Rest a moment in a loop that waits for something; raises when it will not come."""
        last = " / ".join(said.splitlines()[-3:])
        if any(process.poll() is not None for process in self.processes):
            raise ServiceDiedError(f"the training cluster died; {name} said last: {last}")
        if time.monotonic() > deadline:
            raise NotReadyError(f"the training {name} was not ready in {_TIMEOUT} s: {last}")
        time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        home = self.work / "java" if java.needs_shim(self.java, self.spark) else self.java.home
        return plain_environment() | {
            # Java unpacks libraries there and loads them: not where others could swap them.
            "JDK_JAVA_OPTIONS": f'"-Djava.io.tmpdir={self.work}"',
            "HOME": str(self.work),
            "JAVA_HOME": str(home),
            "PYSPARK_PYTHON": str(self.python),
            "PYTHONPATH": os.pathsep.join(map(str, self.spark.python_path)),
            "SPARK_CONF_DIR": str(self.conf_dir),
            "SPARK_HOME": str(self.spark.home),
            "SPARK_LOCAL_IP": _LOOPBACK,
            "SPARK_SCALA_VERSION": self.spark.scala,
        }


def train(java: Java, spark: Spark, work: Path, conf_dir: Path, python: Path) -> dict[str, Trained]:
    """Run the training in the private directory ``work``; what each archive is made of, by its name.

    Raises ServiceDiedError or NotReadyError. All processes are ended whatever happens.
    """
    cluster = _Cluster(java, spark, work, conf_dir, python)
    patience = 0.0
    try:
        executor_classpath = _work(cluster)
        patience = _GRACE
    finally:
        _end(cluster.processes, patience)
    daemon, numerical = options(java, spark, vector=False), options(java, spark, vector=True)
    return {
        class_data.DAEMON: Trained(_classes(work, "master", "worker"), daemon, class_data.daemon_classpath(spark)),
        class_data.DRIVER: Trained(_classes(work, "driver"), numerical, class_data.classpath(spark)),
        class_data.EXECUTOR: Trained(_classes(work, "executor"), numerical, executor_classpath),
    }


def options(chosen: Java, spark: Spark, *, vector: bool) -> tuple[str, ...]:
    """The options that must be the same when an archive is made and when it is used."""
    collector = java.garbage_collector(chosen)
    return (*([collector] if collector else []), *java.module_options(chosen, spark, vector=vector))


def plain_environment() -> dict[str, str]:
    """An environment without the caller's settings for Java, Spark and Python."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}


def _work(cluster: _Cluster) -> str:
    """Start all, run the job; the class path that the Worker gave its executor."""
    key = secrets.token_bytes(32)
    properties = _write_properties(cluster, key)
    here = ("--host", _LOOPBACK, "--port", "0", "--webui-port", "0", "--properties-file", str(properties))
    cluster.start("master", cluster.jvm("master", "master.Master", *here))
    url = cluster.wait("master", rf"Starting Spark master at (spark://{_LOOPBACK}:\d+)")
    page_port = cluster.wait("master", r"'MasterUI' on port (\d+)")
    size = ("--cores", "1", "--memory", "1g", "--work-dir", str(cluster.work / "executors"))
    worker = cluster.start("worker", cluster.jvm("worker", "worker.Worker", *here, *size, url))
    cluster.wait("worker", "Successfully registered with master")
    _read_page(f"http://{_LOOPBACK}:{page_port}/json/", key)
    job = _start_job(cluster, properties, url)
    cluster.wait("job", "worked")
    classpath = _executor_classpath(worker)
    job.communicate(b"\n", timeout=_TIMEOUT)
    cluster.processes.remove(job)
    return classpath


def _start_job(cluster: _Cluster, properties: Path, url: str) -> subprocess.Popen[bytes]:
    """Start a driver the way a kernel's is started, and the Python that works with it."""
    gateway = cluster.work / "gateway"
    arguments = ("--master", url, "--properties-file", str(properties), "pyspark-shell")
    command = cluster.jvm("driver", "SparkSubmit", *arguments, driver=True)
    cluster.start("driver", command, subprocess.PIPE, _PYSPARK_DRIVER_CONN_INFO_PATH=str(gateway))
    deadline = time.monotonic() + _TIMEOUT
    while not gateway.exists():
        cluster.check("driver", (cluster.work / "driver.log").read_text("utf-8", "replace"), deadline)
    # pyspark/java_gateway.py: the port, then the length and the text of the secret.
    port, length = struct.unpack(">ii", (content := gateway.read_bytes())[:8])
    secret = content[8 : 8 + length].decode()
    return cluster.start(
        "job",
        [str(cluster.python), "-c", _JOB],
        subprocess.PIPE,
        PYSPARK_GATEWAY_PORT=str(port),
        PYSPARK_GATEWAY_SECRET=secret,
    )


def _write_properties(cluster: _Cluster, key: bytes) -> Path:
    """What a session sets, where that brings in classes, so that these are noted; and the shim for Java."""
    entries = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secrets.token_hex(32),
        "spark.deploy.recoveryDirectory": str(cluster.work / "recovery"),
        "spark.deploy.recoveryMode": "FILESYSTEM",
        "spark.driver.bindAddress": _LOOPBACK,
        "spark.driver.host": _LOOPBACK,
        "spark.dynamicAllocation.enabled": "true",
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.executor.extraJavaOptions": class_data.as_property(cluster.note("executor")),
        "spark.executor.memory": "512m",
        "spark.io.encryption.enabled": "true",
        "spark.local.dir": str(cluster.work),
        "spark.master.rest.enabled": "false",
        "spark.network.crypto.enabled": "true",
        "spark.sql.warehouse.dir": str(cluster.work / "warehouse"),
        "spark.ui.proxyRedirectUri": "http://portal",
        "spark.ui.reverseProxy": "true",
        "spark.ui.reverseProxyUrl": "/spark",
    }
    if cluster.spark.release >= (4, 0):
        name = "org.apache.spark.ui.JWSFilter"
        entries |= {
            "spark.network.crypto.authEngineVersion": "2",
            "spark.network.crypto.cipher": "AES/GCM/NoPadding",
            "spark.ui.filters": name,
            f"spark.{name}.param.secretKey": _base64(key),
        }
    if java.needs_shim(cluster.java, cluster.spark):
        shim = cluster.work / "java" / "bin" / "java"
        shim.parent.mkdir(parents=True)
        shim.write_text(java.shim(cluster.java), "utf-8")
        shim.chmod(0o700)
    file = cluster.work / "spark.properties"
    file.touch(0o600)
    file.write_text(render.properties_file(entries), "latin-1")
    return file


def _read_page(page: str, key: bytes) -> None:
    """Ask the master once for its state; what it answers does not matter."""
    text = ".".join(map(_base64, (b'{"alg":"HS256"}', b'{"sub":"training"}')))
    token = f"{text}.{_base64(hmac.digest(key, text.encode(), 'sha256'))}"
    request = urllib.request.Request(page, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # not through the site's proxy
    with contextlib.suppress(OSError), opener.open(request, timeout=_TIMEOUT) as answer:
        answer.read()


def _executor_classpath(worker: subprocess.Popen[bytes]) -> str:
    """The class path in the command of the worker's executor; releases of Spark build it differently."""
    for child in psutil.Process(worker.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command = child.cmdline()
            if "org.apache.spark.executor.CoarseGrainedExecutorBackend" in command:
                return command[command.index("-cp") + 1]
    raise ServiceDiedError("the training executor ended before its job")


def _end(processes: Sequence[subprocess.Popen[bytes]], patience: float) -> None:
    """End all processes and what they started; JVMs get ``patience`` seconds to complete their lists."""
    family = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            family += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for process in reversed(processes):
        if patience:
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=patience)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    for process in processes:
        process.wait()
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
    psutil.wait_procs(alive, timeout=_GRACE)


def _classes(work: Path, *names: str) -> tuple[str, ...]:
    """The noted classes of several JVMs, each once, without the numbers that hold for one list only.

    What has a source was loaded by a class loader of a library and means nothing without its number.
    """
    lines = [line for name in names for line in (work / f"{name}.classes").read_text("utf-8").splitlines()]
    known = (line for line in lines if not line.startswith("#") and " source: " not in line)
    return tuple(dict.fromkeys(re.sub(r" id: \d+.*", "", line) for line in known))


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

"""The programs that are measured: started in a clean home, timed until they can be used, ended with all children."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import yaml

from ood_runtime.passwords import jupyter_hash
from ood_runtime.secret import Secret
from tests.support.jupyter import Connection

_LOOK_SECONDS = 0.01  # between two looks whether a program can be used
_READY_WITHIN = 180.0
_STOP_WITHIN = 30.0
_QUIET_SHARE, _QUIET_WITHIN = 0.1, 15.0  # of one core, seconds
_MASTER, _WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
_PASSWORD, _SALT = "measured1234", "0123456789abcdef"

Value = TypeVar("Value")


@dataclass(frozen=True)
class Software:
    """What all measured programs share: one Python, one Java, one Spark, so many cores for its worker."""

    java_home: Path
    spark_home: Path
    python_path: tuple[Path, ...]
    cores: int


@dataclass
class Started:
    """A program that can be used now; ``seconds`` is how long that took from its start."""

    process: "subprocess.Popen[bytes]"
    seconds: float
    connection: Connection = field(default_factory=dict)

    def settle(self) -> None:
        """Wait until it and its children rest, so that what is measured next has the machine for itself."""
        deadline = time.monotonic() + _QUIET_WITHIN
        before = _cpu_seconds(self.process.pid)
        while time.monotonic() < deadline:
            time.sleep(1.0)
            now = _cpu_seconds(self.process.pid)
            if now - before < _QUIET_SHARE:
                return
            before = now


def environment(software: Software, home: Path) -> dict[str, str]:
    """A login's variables and no others: nothing of the caller's Spark, Jupyter or ood-runtime settings."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "USER", "LOGNAME") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "JAVA_HOME": str(software.java_home),
        "LANG": "C.UTF-8",
        "OOD_RUNTIME_SITE_CONFIG": "/dev/null",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "SHELL": "/bin/bash",
        # Where the class-data archives are, for every new home.
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
    }


@contextmanager
def session(software: Software, scratch: Path, settings: Sequence[str] = ()) -> Iterator[Started]:
    """``ood-runtime start jupyter-spark``, from exec to connection.yml."""
    directory = scratch / "session"
    argv = [sys.executable, "-m", "ood_runtime", "start", "jupyter-spark", "--session-dir", str(directory)]
    argv += [part for setting in settings for part in ("--set", setting)]
    with _started(argv, environment(software, scratch), scratch / "session.log") as (process, begin):
        text = _until(lambda: _read(directory / "connection.yml"), process, scratch / "session.log")
        yield Started(process, time.monotonic() - begin, yaml.safe_load(text))


@contextmanager
def bare_jupyter(
    software: Software, scratch: Path, master: str, conf: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """``jupyter-lab`` with a password and a port, from exec to the first answer of its API.

    Its kernels are stock PySpark with ``sc``, made by pyspark/shell.py, on the cluster at ``master``; ``conf`` are
    entries of Spark's configuration.
    """
    port = free_port()
    config = scratch / "jupyter_server_config.py"
    config.write_text(
        f"c.ServerApp.ip = '127.0.0.1'\nc.ServerApp.port = {port}\nc.ServerApp.open_browser = False\n"
        f"c.PasswordIdentityProvider.hashed_password = {_hash()!r}\n"
        "c.IdentityProvider.token = ''\n"
    )
    argv = [str(Path(sys.executable).parent / "jupyter-lab"), f"--config={config}"]
    variables = environment(software, scratch) | _stock_pyspark(software, master, conf or {})
    with _started(argv, variables, scratch / "jupyter.log") as (process, begin):
        _until(lambda: _get(port, "/api"), process, scratch / "jupyter.log")
        connection = {"host": "127.0.0.1", "port": port, "base_url": "/", "password": _PASSWORD, "xsrf": "stock"}
        yield Started(process, time.monotonic() - begin, connection)


@contextmanager
def bare_spark(software: Software, scratch: Path, port: int) -> Iterator[Started]:
    """``spark-class`` master, then worker, from the first exec to the worker's registration; no authentication."""
    ui_port = free_port()
    variables = environment(software, scratch) | {
        "SPARK_HOME": str(software.spark_home),
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    spark_class = str(software.spark_home / "bin" / "spark-class")
    place = ["--host", "127.0.0.1"]
    master_argv = [spark_class, _MASTER, *place, "--port", str(port), "--webui-port", str(ui_port)]
    worker_argv = [spark_class, _WORKER, *place, "--webui-port", "0", "--cores", str(software.cores)]
    worker_argv += ["--work-dir", str(scratch / "work"), f"spark://127.0.0.1:{port}"]
    with ExitStack() as stack:
        log = scratch / "spark.log"
        master, begin = stack.enter_context(_started(master_argv, variables, log))
        _until(lambda: _accepts(port), master, log)
        worker, _ = stack.enter_context(_started(worker_argv, variables, log))
        _until(lambda: _worker_is_registered(ui_port), worker, log)
        yield Started(master, time.monotonic() - begin)


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _hash() -> str:
    return jupyter_hash(Secret(_PASSWORD), Secret(_SALT)).reveal()


def _stock_pyspark(software: Software, master: str, conf: Mapping[str, str]) -> dict[str, str]:
    search = [*map(str, software.python_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    package = next(path / "pyspark" for path in software.python_path if (path / "pyspark").is_dir())
    entries = " ".join(f"--conf {key}={value}" for key, value in conf.items())
    return {
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"--master {master} {entries} pyspark-shell",
        "PYTHONPATH": os.pathsep.join(search),
        "PYTHONSTARTUP": str(package / "shell.py"),
        "SPARK_HOME": str(software.spark_home),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


@contextmanager
def _started(
    argv: Sequence[str], variables: Mapping[str, str], log: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    with log.open("ab") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            argv,
            env=dict(variables),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process, begin
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.terminate()
    try:
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=3)
    for child in alive:
        child.kill()


def _until(look: Callable[[], Value | None], process: "subprocess.Popen[bytes]", log: Path) -> Value:
    """The first answer of ``look`` that is not None; an error with the log when there will be none."""
    deadline = time.monotonic() + _READY_WITHIN
    while (value := look()) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"not ready: {process.args!r}\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(_LOOK_SECONDS)
    return value


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _accepts(port: int) -> bool | None:
    with socket.socket() as sock:
        return True if sock.connect_ex(("127.0.0.1", port)) == 0 else None


def _get(port: int, path: str) -> bytes | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _worker_is_registered(ui_port: int) -> bool | None:
    try:
        return True if json.loads(_get(ui_port, "/json/") or b"{}").get("aliveworkers") else None
    except ValueError:
        return None  # for a moment its web server answers, and its pages are not there yet


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process and its living children."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
    except psutil.NoSuchProcess:
        pass
    return total

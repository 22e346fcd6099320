"""A history server of Spark for event logs of one directory, on loopback, as long as somebody looks at them.

It is closed like all web interfaces of Spark, and what opens it is in its own file and in this process only.
"""

import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import class_data, failures, java, logs, ports, spark_observed, spawn, ui_filter
from ood_runtime.context import SparkSoftware
from ood_runtime.errors import OodRuntimeError, SessionError
from ood_runtime.private_files import private_directory, write
from ood_runtime.probes import Listening
from ood_runtime.render import java_argument, properties_file
from ood_runtime.secret import Secret, key
from ood_runtime.service import Service
from ood_runtime.settings import Settings
from ood_runtime.settings import sizes as memory
from ood_runtime.settings.sizes import GIB

_MAIN = "org.apache.spark.deploy.history.HistoryServer"
_NAME = "history-server"
_LOG = re.compile(r"(eventlog_v2_|app-|application_|local-)")
_HEAP = 2 * GIB  # at most: a large application takes several hundred MB
_LOOK_SECONDS = 0.1
_FIRST_LIST_SECONDS = 20.0  # until the server has read the logs for the first time; it goes on reading


@dataclass(frozen=True)
class HistoryServer:
    """A server that listens on ``port`` of this node; ``authorization`` is the header that it demands."""

    process: "subprocess.Popen[bytes]"
    port: int
    authorization: Secret
    service: Service
    directory: Path

    def death(self) -> OodRuntimeError:
        """Why it has ended by itself. The reason is told in full, since its log goes with the directory."""
        return _told(failures.died(self.directory, self.service, self.process.returncode))

    def applications(self) -> int:
        """How many applications it shows; it reads them in the background. Waits a while for the first one."""
        deadline = time.monotonic() + _FIRST_LIST_SECONDS
        while (found := self._applications()) == 0 and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(_LOOK_SECONDS)
        return found

    def _applications(self) -> int:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as server:
                server.request("GET", "/api/v1/applications", headers={"Authorization": self.authorization.reveal()})
                return len(json.loads(server.getresponse().read()))
        except (OSError, http.client.HTTPException, ValueError):
            return 0


def find_logs(directory: Path) -> Path:
    """Where the event logs are: in the session's ``directory``, or there itself. Raises SessionError that says what
    is wrong, and what to do.
    """
    if not directory.is_dir():
        raise SessionError(f"there is no directory {directory}", remedy="name the directory of a session")
    try:
        for place in (spark_observed.event_logs(directory), directory):
            if place.is_dir() and any(_LOG.match(path.name) for path in place.iterdir()):
                return place
    except OSError as error:
        raise SessionError(f"{error.filename} cannot be read: {error.strerror}") from error
    raise SessionError(
        f"there are no event logs of Spark in {directory}",
        remedy="sessions write them with spark.event_logs.enabled: true in the settings, each application when it runs",
    )


@contextmanager
def started(software: SparkSoftware, settings: Settings, event_logs: Path, base: str) -> Iterator[HistoryServer]:
    """Start a server that shows ``event_logs``, and end it afterwards; browsers see its pages below the path ``base``.

    Raises OodRuntimeError when it does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="ood-"))
    try:
        with ports.hold((_NAME,), settings.ports.min, settings.ports.max) as held:
            # By a name of ours: Spark takes a path with a comma for two, and one with % for a URI.
            (directory / "event-logs").symlink_to(event_logs)
            opening, properties = _properties(software, directory / "event-logs", base, held[_NAME])
            properties["spark.history.fs.logDirectory.names"] = str(event_logs).replace(",", "_")  # since Spark 4.3
            service = _service(software, settings, directory, held[_NAME])
            _write(software, service, directory, properties, settings)
            log = logs.create(directory / service.log)
            process = spawn.spawn(service, os.environ, log)
            os.close(log)
            try:
                _await(process, service, directory)
                (directory / "spark.conf").unlink()  # it has been read
                yield HistoryServer(process, held[_NAME], opening, service, directory)
            finally:
                _end(process, settings.timeouts.stop)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _service(software: SparkSoftware, settings: Settings, directory: Path, port: int) -> Service:
    return Service(
        name=_NAME,
        argv=(str(software.java.executable), f"@{directory / 'java.args'}"),
        environment={
            "JAVA_HOME": str(software.java.home),
            "LC_ALL": "C.UTF-8",  # or Java cannot open files with names that are not ASCII
            "SPARK_CONF_DIR": str(directory / "conf"),
            "SPARK_HOME": str(software.spark.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_PUBLIC_DNS": "127.0.0.1",
            "SPARK_SCALA_VERSION": software.spark.scala,
        },
        directory=directory,
        ready_seconds=settings.timeouts.ready,
        ports=(port,),
    )


def _properties(software: SparkSoftware, event_logs: Path, base: str, port: int) -> tuple[Secret, dict[str, str]]:
    """The header that opens the server, and what it reads."""
    release, secret = software.spark.release, key()
    return ui_filter.authorization(release, secret), {
        "spark.history.fs.logDirectory": f"file:{event_logs}",
        "spark.history.fs.cleaner.enabled": "false",  # it would remove logs
        "spark.history.ui.port": str(port),
        "spark.port.maxRetries": "0",
        "spark.ui.proxyBase": base,
        **ui_filter.conf(release, secret),
    }


def _write(
    software: SparkSoftware, service: Service, directory: Path, properties: Mapping[str, str], settings: Settings
) -> None:
    for name in ("conf", "logs", "tmp"):
        private_directory(directory / name)
    # The classes of a driver, since a history server shows its pages; and the filter of Spark 3.5.
    classpath = class_data.classpath(software.spark)
    if software.ui_filter:
        write(directory / "ui-filter.jar", software.ui_filter)
        classpath += f"{os.pathsep}{directory / 'ui-filter.jar'}"
    arguments = [
        f"-Xmx{memory.spark(settings.spark.driver.memory or _HEAP)}",
        *class_data.driver_options(software.java, software.archives),
        *class_data.temporary_options(directory / "tmp"),
        *java.module_options(software.java, software.spark, vector=False),
        *("-cp", classpath, _MAIN),
        *("--properties-file", directory / "spark.conf"),
    ]
    write(directory / "java.args", "".join(f"{java_argument(argument)}\n" for argument in arguments))
    write(directory / "spark.conf", properties_file(properties))


def _await(process: "subprocess.Popen[bytes]", service: Service, directory: Path) -> None:
    """Wait until it listens."""
    deadline = time.monotonic() + service.ready_seconds
    probe = Listening(service.ports)
    while not (answer := probe([process.pid])).ready:
        if process.poll() is not None:
            raise _told(failures.died(directory, service, process.returncode))
        if time.monotonic() > deadline:
            raise _told(failures.not_ready(directory, service, answer.detail))
        time.sleep(_LOOK_SECONDS)


def _told(error: OodRuntimeError) -> OodRuntimeError:
    error.log, error.remedy = "", "`ood-runtime doctor` checks this node"
    return error


def _end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Spark's own programs, as another user runs them who wants to be part of a cluster."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.security.enemy import Enemy, Found
from tests.support.needs import need_java
from tools.port_table import Hears

WITHIN = 60.0  # seconds, of a busy machine
_OPENED = ("java.lang", "java.lang.invoke", "java.net", "java.nio", "java.util", "sun.nio.ch", "sun.nio.cs")
_PROPERTIES = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.authEngineVersion": "2",
    "spark.network.crypto.cipher": "AES/GCM/NoPadding",
    "spark.network.crypto.saslFallback": "false",
    "spark.io.encryption.enabled": "true",
    "spark.worker.initialRegistrationRetries": "1",
    "spark.worker.ui.retainedExecutors": "1",
}


@dataclass(frozen=True)
class Intruder:
    """Mallory on a node that has nothing to do with the session, with a Spark of the same release."""

    enemy: Enemy
    home: Path

    def knock(self, found: Sequence[Found], secrets: Mapping[str, str], *, tls: bool) -> dict[str, dict[str, str]]:
        """What Spark's protocol says at all ports that speak it and that can be reached from here, for each secret."""
        address = {node: machine.address for node, machine in self.enemy.cluster.machines.by_name.items()}
        ports = [f"{address[one.node]}:{one.port}" for one in found if one.hears == Hears.FAILURE and one.remote]
        asked = {"java": str(_java()), "tls": tls, "ports": ports, "secrets": dict(secrets)}
        done = self.enemy.cluster.machines.run(
            [sys.executable, "-c", Path(__file__).with_name("knocker.py").read_text(), str(self.home)],
            on=self.enemy.other,
            user=self.enemy.mallory,
            stdin=json.dumps(asked),
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, dict[str, str]] = json.loads(done.stdout)
        return told

    def worker(self, master: str, secret: str, until: str) -> str:
        """A worker that offers itself to a master; the line of its log that has ``until`` in it, a pattern."""
        own = self.enemy.cluster.machines.by_name[self.enemy.other].address
        properties = {**_PROPERTIES, "spark.authenticate.secret": secret}
        text = "".join(f"{name} {value}\n" for name, value in properties.items())
        file = f"/tmp/rogue-{os.urandom(4).hex()}"
        write = ["sh", "-c", 'umask 077; mkdir "$0"; cat >"$0/conf"', file]
        self.enemy.cluster.machines.run(write, on=self.enemy.other, user=self.enemy.mallory, stdin=text)
        words = ["--host", own, "--port", "0", "--webui-port", "0", "--cores", "1", "--memory", "600m"]
        words += ["--work-dir", file, "--properties-file", f"{file}/conf", master]
        line = self._line("org.apache.spark.deploy.worker.Worker", words, {}, until)
        self.enemy.cluster.machines.run(["rm", "-r", file], on=self.enemy.other, user=self.enemy.mallory)
        return line

    def executor(self, driver: str, secret: str, until: str) -> str:
        """An executor that offers itself to the driver at ADDRESS:PORT; as with a worker."""
        own = self.enemy.cluster.machines.by_name[self.enemy.other].address
        url = f"spark://CoarseGrainedScheduler@{driver}"
        words = ["--driver-url", url, "--executor-id", "77", "--hostname", own, "--cores", "1", "--app-id", "app-77"]
        words += ["--worker-url", f"spark://Worker@{own}:1"]
        given = {"_SPARK_AUTH_SECRET": secret}
        return self._line("org.apache.spark.executor.CoarseGrainedExecutorBackend", words, given, until)

    def _line(self, program: str, words: Sequence[str], env: Mapping[str, str], until: str) -> str:
        options = ["-Xmx600m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{self.home}/jars/*"]
        options += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        if "executor" in program:
            options += [f"-D{name}={value}" for name, value in _PROPERTIES.items()]
        with self._running([str(_java()), *options, program, *words], env) as process:
            assert process.stdout
            read = ""
            for line in process.stdout:
                read += line
                if re.search(until, line):
                    return line
        raise AssertionError(f"{program} did not say {until}:\n{read}")

    @contextmanager
    def _running(self, argv: Sequence[str], env: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
        """It is ended when it is of no use any more, and when it takes too long."""
        process = subprocess.Popen(
            [
                "timeout",
                "--kill-after=1",
                str(WITHIN),
                *self.enemy.cluster.machines.command(argv, on=self.enemy.other, user=self.enemy.mallory),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=self.enemy.mallory.environment({"SPARK_HOME": str(self.home), **env}),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for pid in self.enemy.cluster.left(self.enemy.mallory).get(self.enemy.other, {}):
                os.kill(pid, signal.SIGKILL)
            process.communicate(timeout=30)


def _java() -> Path:
    return need_java(17) / "bin" / "java"


def soon(file: Path, pattern: str, within: float = 10.0) -> str:
    """The line of a log that has the pattern in it, as soon as it is there."""
    deadline = time.monotonic() + within
    while not (found := re.search(f".*(?:{pattern}).*", file.read_text(errors="replace"))):
        assert time.monotonic() < deadline, (
            f"{file} does not say {pattern}:\n{file.read_text(errors='replace')[-3000:]}"
        )
        time.sleep(0.1)
    return found[0]

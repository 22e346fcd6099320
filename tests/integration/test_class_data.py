"""Making archives with a real Spark, and giving up half-way."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ood_runtime import class_data, class_data_build, java, spark_home
from ood_runtime.errors import MissingError, ServiceDiedError, SessionError
from ood_runtime.java import Java
from ood_runtime.spark_home import Spark

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pair() -> tuple[Java, Spark]:
    try:
        found = java.find(None, os.environ), spark_home.find(None, os.environ)
    except MissingError as error:
        pytest.skip(error.what)
    if reason := java.fits(*found):
        pytest.skip(reason)
    return found


@pytest.fixture
def cache() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="class data ") as path:
        yield Path(path) / "cache"


def accepts(java: Java, archive: Path, classpath: str) -> bool:
    """Whether the JVM maps the archive: with -Xshare:on it does not start without."""
    argv = [str(java.executable), "-Xshare:on", f"-XX:SharedArchiveFile={archive}", "-cp", classpath, "-version"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_a_build_that_every_jvm_accepts(pair: tuple[Java, Spark], cache: Path) -> None:
    said: list[str] = []
    assert class_data.find(*pair, [cache]) is None
    archives = class_data_build.build(*pair, cache, log=said.append)

    assert class_data.find(*pair, [cache]) == archives
    assert {path.name for path in cache.iterdir()} == {".lock", "conf", archives.directory.name}
    executor_path = f"{archives.conf_dir}/:"
    slf4j = [str(jar) for jar in pair[1].jars if jar.name.startswith("slf4j-api-")]
    if pair[1].release >= (4, 0):
        executor_path += "".join(f"{jar}:" for jar in slf4j)
    assert archives.daemon and archives.driver
    assert accepts(pair[0], archives.daemon, class_data.daemon_classpath(pair[1]))
    assert accepts(pair[0], archives.driver, class_data.classpath(pair[1]))
    # Java 21 takes none for executors of Spark 4; whoever keeps one must be able to use it.
    assert archives.executor is not None or pair[0].major == 21
    if archives.executor:
        assert accepts(pair[0], archives.executor, f"{executor_path}{pair[1].home}/jars/*")

    # The second time there is nothing to do.
    said.clear()
    assert class_data_build.build(*pair, cache, log=said.append) == archives
    assert not said


def test_a_training_that_fails_leaves_nothing(pair: tuple[Java, Spark], cache: Path) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ServiceDiedError, match="training cluster died"):
        class_data_build.build(*pair, cache, log=lambda _: None, python=Path("/bin/false"))
    assert {path.name for path in cache.iterdir()} == {".lock", "conf"}
    assert set(psutil.Process().children(recursive=True)) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_builder_that_is_ended_takes_its_cluster_along(
    pair: tuple[Java, Spark], cache: Path, number: signal.Signals
) -> None:
    argv = [sys.executable, "-m", "ood_runtime.class_data_build", "--directory", str(cache)]
    argv += ["--java-home", str(pair[0].home), "--spark-home", str(pair[1].home)]
    builder = psutil.Popen(argv, stderr=subprocess.PIPE)
    until(lambda: any("Worker" in " ".join(child.cmdline()) for child in builder.children()))
    family = builder.children(recursive=True)
    builder.send_signal(number)
    builder.communicate(timeout=60)

    assert builder.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert not psutil.wait_procs(family, timeout=60)[1]
    if number == signal.SIGTERM:
        assert {path.name for path in cache.iterdir()} == {".lock", "conf"}


def test_a_directory_of_others_is_refused(pair: tuple[Java, Spark], cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(SessionError, match="written by others"):
        class_data_build.build(*pair, cache, log=lambda _: None)


def until(condition: object, seconds: float = 300) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)

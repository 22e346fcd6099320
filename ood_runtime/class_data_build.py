"""The only place that makes class-data archives: a small real cluster works, and its JVMs note their classes.

Run it in the background, for it takes a minute or two:
``python -m ood_runtime.class_data_build --java-home J --spark-home S --directory D``.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from ood_runtime import class_data, class_data_training, java, private_files, spark_home
from ood_runtime.class_data import Archives
from ood_runtime.errors import OodRuntimeError, ServiceDiedError, SessionError
from ood_runtime.java import Java
from ood_runtime.spark_home import Spark

Log = Callable[[str], None]

# Seconds to write one archive: at idle priority on a busy node all takes many times as long.
_TIMEOUT = 1800


def build(java: Java, spark: Spark, directory: Path, *, log: Log, python: Path | None = None) -> Archives:
    """Make the archives for a Java and a Spark under ``directory``, or take what another process made.

    Waits for another builder in the same directory. ``python`` runs the driver's and the executors'
    code (default: our own interpreter). Raises an OodRuntimeError when the place is not safe, or the
    training fails; nothing is left behind then.
    """
    directory = directory.absolute()
    private_files.make(directory)
    if reason := private_files.distrust(directory):
        raise SessionError(
            f"cannot keep class-data archives in {directory}: {reason}",
            remedy="choose a directory that only you or root can write to",
        )
    name = class_data.key(java, spark)
    with _alone(directory):
        if found := class_data.find(java, spark, [directory]):
            return found
        _sweep(directory, name)
        with _workspace(directory) as work:
            log(f"training for class-data archives of Spark {spark.version} on Java {java.version}")
            conf_dir = class_data.at(directory, name).conf_dir
            conf_dir.mkdir(mode=0o755, exist_ok=True)
            trained = class_data_training.train(java, spark, work, conf_dir, python or Path(sys.executable))
            log("writing class-data archives")
            made = work / name
            made.mkdir(mode=0o755)
            for archive, training in trained.items():
                _write(java, training, made / archive)
                if not _accepted(java, training, made / archive):
                    log(f"Java {java.version} cannot use {archive} with this Spark: going without it")
                    (made / archive).write_bytes(b"")
            made.rename(directory / name)
    log(f"class-data archives are ready in {directory / name}")
    return class_data.at(directory, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build archives at the lowest priority; SIGTERM ends it and leaves nothing behind."""
    parser = argparse.ArgumentParser(prog="class_data_build", description=__doc__.splitlines()[0])
    parser.add_argument("--java-home", type=Path)
    parser.add_argument("--spark-home", type=Path)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--python", type=Path, help="the Python of the driver and the executors")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    os.umask(0o022)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        chosen = java.find(options.java_home, os.environ), spark_home.find(options.spark_home, os.environ)
        build(*chosen, options.directory, log=_say, python=options.python)
    except OodRuntimeError as error:
        _say("\n".join(filter(None, [error.what, error.remedy])))
        return error.exit_status
    except OSError as error:
        _say(f"cannot build class-data archives in {options.directory}: {error}")
        return 1
    return 0


def _write(java: Java, training: class_data_training.Trained, archive: Path) -> None:
    """Have the JVM write one archive from the noted classes."""
    classes = archive.with_suffix(".classes")
    classes.write_text("".join(f"{line}\n" for line in training.classes), "utf-8")
    argv = [
        str(java.executable),
        "-Xshare:dump",
        f"-XX:SharedClassListFile={classes}",
        f"-XX:SharedArchiveFile={archive}",
        *training.options,
        "-cp",
        training.classpath,
    ]
    # run() kills and reaps the JVM whatever ends it, also the exception of a signal.
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=class_data_training.plain_environment(),
        timeout=_TIMEOUT,
        check=False,
        text=True,
        errors="replace",
    )
    if done.returncode or not archive.is_file():
        last = " / ".join(done.stdout.splitlines()[-3:])
        raise ServiceDiedError(f"Java {java.version} could not write {archive.name}: {last}")
    archive.chmod(0o644)
    classes.unlink()


def _accepted(java: Java, training: class_data_training.Trained, archive: Path) -> bool:
    """Whether the JVM maps the archive: with ``-Xshare:on`` it does not start without.

    Java 21 refuses that of the executors of Spark 4, in whose class path a jar stands twice.
    """
    options = ["-Xshare:on", f"-XX:SharedArchiveFile={archive}", *training.options, "-cp", training.classpath]
    done = subprocess.run(
        [str(java.executable), *options, "-version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=class_data_training.plain_environment(),
        timeout=_TIMEOUT,
        check=False,
    )
    return done.returncode == 0


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory of archives; waits for another builder."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory / ".lock", flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _workspace(directory: Path) -> Iterator[Path]:
    """A private directory on the same file system, so that a finished one can be renamed into place."""
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=directory))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(directory: Path, name: str) -> None:
    """Remove what a killed builder left, and archives of this name that nobody would trust."""
    for stale in [*directory.glob(".build-*"), directory / name]:
        shutil.rmtree(stale, ignore_errors=True)


def _leave(number: int, _frame: FrameType | None) -> None:
    # Once is enough: the way out must not be interrupted.
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

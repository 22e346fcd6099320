"""The only place that knows which class-data archives belong to a Java and a Spark, and how a JVM uses them.

An archive holds the parsed and verified classes of a JVM that did the same work before; the JVM maps
it and starts in about half the time. docs/decisions/0006-class-data-archives.md has the measurements.
``class_data_build`` makes archives; here they are only looked up.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_runtime.java import Java, garbage_collector
from ood_runtime.private_files import distrust
from ood_runtime.spark_home import Spark

# Goes up whenever an archive is made in another way, so that nobody uses an old one.
RECIPE = 4

# What only drivers and executors use, and what daemons use most: a JVM opens every jar of its class path once, and
# looks into one after the other for each class that is in no archive.
_NO_DAEMON_USES = re.compile(
    r"(arpack|arrow|blas|breeze|datanucleus|derby|hive|icu4j|kubernetes|lapack|orc|parquet|spire|vertx|volcano)[-_]"
    r"|spark-(catalyst|connect|graphx|hive|kubernetes|mesos|mllib|pipelines|repl|sql|streaming|yarn)[-_]"
)
_DAEMONS_USE_MOST = re.compile(r"spark-(core|config|common|network)|scala-library|netty-|log4j-|hadoop-client-api")

# An archive is mapped where it says; moved elsewhere, all addresses in its 70 MB are written anew, which takes 40 ms.
_UNMOVED = ("-XX:+UnlockDiagnosticVMOptions", "-XX:ArchiveRelocationMode=0")

DAEMON, DRIVER, EXECUTOR = "daemon.jsa", "driver.jsa", "executor.jsa"
# The Java release that knows the log tag "aot".
_AOT_LOG_TAG = 25


@dataclass(frozen=True)
class Archives:
    """The archives for one pair of Java and Spark; None for what this Java cannot use with this Spark.

    ``conf_dir`` is an empty directory: executors find their archive only when the Worker runs with
    it as SPARK_CONF_DIR, since it stands in their class path.
    """

    directory: Path
    daemon: Path | None
    driver: Path | None
    executor: Path | None
    conf_dir: Path


def find(java: Java, spark: Spark, directories: Sequence[Path]) -> Archives | None:
    """The first archives under ``directories`` that fit and that nobody else can have planted."""
    name = key(java, spark)
    for directory in directories:
        with contextlib.suppress(OSError):  # a directory that we may not look into has none for us
            archives = at(directory, name)
            if _is_usable(archives):
                return archives
    return None


def _is_usable(archives: Archives) -> bool:
    files = [*(archives.directory / name for name in (DAEMON, DRIVER, EXECUTOR)), archives.conf_dir]
    return all(path.exists() for path in files) and not any(distrust(path) for path in files)


def at(directory: Path, name: str) -> Archives:
    """The archives called ``name`` (a ``key``) under ``directory``."""
    home = directory.absolute() / name
    found = {kind: home / kind if _has_content(home / kind) else None for kind in (DAEMON, DRIVER, EXECUTOR)}
    return Archives(home, found[DAEMON], found[DRIVER], found[EXECUTOR], home.parent / "conf")


def _has_content(path: Path) -> bool:
    """An empty file says that there cannot be an archive, so that nobody builds it again and again."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def key(java: Java, spark: Spark) -> str:
    """A name that changes with everything an archive depends on.

    The JVM checks its build and the jars once more when it maps an archive, and goes on without.
    """
    digest = hashlib.sha256()
    digest.update(f"{RECIPE}\0{java.version}\0{os.path.realpath(java.home)}\0{spark.version}\0".encode())
    digest.update(_seen(java.home / "lib" / "server" / "libjvm.so"))
    # Sorted, and no finer than a second: a copy, as in the image of a container, keeps neither more.
    for path in sorted((spark.home / "jars").glob("*.jar")):
        digest.update(os.fsencode(path.name) + b"\0" + _seen(path))
    digest.update(os.fsencode(spark.home))
    return f"{spark.version}-java{java.major}-{digest.hexdigest()[:20]}"


def classpath(spark: Spark) -> str:
    """The class path for JVMs that are started without Spark's scripts: every jar, sorted.

    Not a wildcard: that has the order of the directory, which a copy of it need not keep.
    """
    return os.pathsep.join(map(str, spark.jars))


def daemon_classpath(spark: Spark) -> str:
    """The class path of Master and Worker: in an order, and without some jars, that let them start sooner."""
    jars = (jar for jar in spark.jars if not _NO_DAEMON_USES.match(jar.name))
    return os.pathsep.join(map(str, sorted(jars, key=lambda jar: not _DAEMONS_USE_MOST.match(jar.name))))


def daemon_options(java: Java, archives: Archives | None) -> tuple[str, ...]:
    """Options for Master and Worker: small heaps and little work, so the quick compiler alone."""
    return (
        "-XX:TieredStopAtLevel=1",
        "-XX:CompileThresholdScaling=3",
        "-Xmn128m",
        "-XX:+UseSerialGC",
        # There is one program in this JVM, and one logging library: log4j need not look for others.
        "-Dlog4j2.contextSelector=org.apache.logging.log4j.core.selector.BasicContextSelector",
        "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.core.impl.Log4jContextFactory",
        *_shared(java, archives.daemon if archives else None),
        *(_UNMOVED if archives and archives.daemon else ()),
    )


def driver_options(java: Java, archives: Archives | None) -> tuple[str, ...]:
    """Options for a driver: nothing that costs throughput."""
    return (*_collector(java), *_shared(java, archives.driver if archives else None))


def executor_options(java: Java, archives: Archives | None) -> tuple[str, ...]:
    """Options for ``spark.executor.extraJavaOptions``: nothing that costs throughput."""
    return (*_collector(java), *_shared(java, archives.executor if archives else None))


def temporary_options(directory: Path | None) -> tuple[str, ...]:
    """Options that keep a JVM's own files out of /tmp; without a ``directory`` somebody else names one.

    Libraries such as lz4-java unpack native code into java.io.tmpdir and load it from there: in a directory that
    everybody can write to, another user could put his own in its place.
    """
    return ("-XX:-UsePerfData", *([f"-Djava.io.tmpdir={directory}"] if directory else []))


def as_property(options: Sequence[str]) -> str:
    """Several options as the value of a property such as ``spark.executor.extraJavaOptions``.

    Quoted as Spark's Utils.splitCommandString reads it.
    """
    return " ".join(_quoted(option) for option in options)


def _collector(java: Java) -> tuple[str, ...]:
    flag = garbage_collector(java)
    return (flag,) if flag else ()


def _shared(java: Java, archive: Path | None) -> tuple[str, ...]:
    if archive is None:
        return ()
    # Without a word when the archive does not fit: the JVM then starts as if there were none.
    quiet = "-Xlog:cds*=off,aot*=off" if java.major >= _AOT_LOG_TAG else "-Xlog:cds*=off"
    return ("-Xshare:auto", f"-XX:SharedArchiveFile={archive}", quiet)


def _quoted(option: str) -> str:
    if not any(char in " \t\n\"'\\" for char in option):
        return option
    return '"' + option.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _seen(path: Path) -> bytes:
    try:
        status = path.stat()
    except OSError:
        return b""
    return f"{status.st_size}\0{int(status.st_mtime)}\0".encode()  # what the JVM compares, too

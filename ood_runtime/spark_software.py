"""Find the Spark, the Java and the Python of a session, and what fits this pair of Spark and Java."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ood_runtime import class_data, java, private_files, spark_home, spark_properties, ui_filter
from ood_runtime.context import SparkSoftware
from ood_runtime.errors import MissingError, find_all
from ood_runtime.java import Java
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.settings.model import Spark as SparkSettings
from ood_runtime.spark_home import Spark

_ASK_SECONDS = 30
_CONNECT_RELEASE = (4, 0)
# What pyspark's own extra `connect` has: names of modules, and of packages.
_CLIENT_PACKAGES = {
    "grpc": "grpcio",
    "grpc_status": "grpcio-status",
    "google.rpc": "googleapis-common-protos",
    "pandas": "'pandas<3'",
    "pyarrow": "pyarrow",
    "zstandard": "zstandard",
}
# A module whose parent is missing is an error.
_ASK = """import importlib.util, sys
for name in sys.argv[1:]:
    try:
        found = importlib.util.find_spec(name)
    except ImportError:
        found = None
    if not found:
        print(name)
"""


def find(
    settings: SparkSettings, jupyter: Jupyter | None, environment: Mapping[str, str], *, kernel: bool = True
) -> SparkSoftware:
    """Everything for Spark; raises MissingError that tells all that is missing, or does not fit together.

    Without a ``kernel`` its Python is only that of executors, and needs no ipykernel.
    """
    sparks: list[Spark] = []
    javas: list[Java] = []
    pythons: list[Path] = []
    find_all(
        lambda: sparks.append(spark_home.find(settings.home, environment)),
        lambda: javas.append(java.find(settings.java_home, environment)),
        lambda: pythons.append(find_python(settings.python, jupyter, environment, kernel=kernel)),
    )
    spark, the_java = sparks[0], javas[0]
    reason = java.fits(the_java, spark)
    if reason:
        raise MissingError(reason, remedy="set spark.java_home to a Java that fits; `ood-runtime doctor` tells which")
    if settings.sharing == "connect":
        find_all(lambda: _check_release(spark), lambda: _check_client(pythons[0], environment) if kernel else None)
    directories = archive_directories(settings, environment)
    use = settings.class_data != "off"
    archives = class_data.find(the_java, spark, directories) if use else None
    conf_directory = _conf_directory(spark, environment)
    return SparkSoftware(
        spark=spark,
        java=the_java,
        python=pythons[0],
        archives=archives,
        archive_directory=directories[-1] if settings.class_data == "auto" and not archives else None,
        ui_filter=_ui_filter(the_java, spark, directories[-1]) if ui_filter.needs_compile(spark.release) else None,
        site_conf=spark_properties.read(conf_directory / "spark-defaults.conf") if conf_directory else {},
        conf_directory=conf_directory,
    )


def find_python(
    setting: str | None, jupyter: Jupyter | None, environment: Mapping[str, str], *, kernel: bool = True
) -> Path:
    """The interpreter of the PySpark kernel: the setting, else that of Jupyter's kernels, else ours.

    Without a ``kernel`` it need not have ipykernel.

    Raises MissingError when the setting names none, or none of them has ipykernel.
    """
    if setting:
        found = shutil.which(os.path.expanduser(setting), path=environment.get("PATH"))  # noqa: PTH111
        if not found:
            raise MissingError(f"spark.python: there is no Python {setting}", remedy="set spark.python to a path")
        if kernel and not _has_ipykernel(Path(found)):
            raise MissingError(
                f"spark.python: {found} has no ipykernel, which a notebook's kernel needs",
                remedy=f"{found} -m pip install ipykernel",
            )
        return Path(found).absolute()
    if jupyter and jupyter.kernel_python:
        return jupyter.kernel_python
    if jupyter and jupyter.python and jupyter.has_ipykernel:
        return jupyter.python
    if not kernel or _has_ipykernel(Path(sys.executable)):
        return Path(sys.executable)
    raise MissingError(
        "no Python with ipykernel for the PySpark kernel: neither Jupyter's nor that of ood-runtime has it",
        remedy="set spark.python to one that has, or `pip install ipykernel`",
    )


def archive_directories(settings: SparkSettings, environment: Mapping[str, str]) -> list[Path]:
    """Where class-data archives are looked for; the user's own cache comes last, and is where we build them."""
    home = environment.get("HOME") or "/nonexistent"
    cache = Path(environment.get("XDG_CACHE_HOME") or Path(home) / ".cache")
    installed = Path(sys.prefix) / "share"  # with ood-runtime itself, as in our images
    return [*settings.class_data_dirs, *(base / "ood-runtime" / "class-data" for base in (installed, cache))]


def _has_ipykernel(python: Path) -> bool:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('ipykernel') is None)"
    try:
        # Not in the current directory, where others may have put modules for us to import.
        done = subprocess.run([python, "-c", code], cwd="/", timeout=_ASK_SECONDS, check=False)
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _check_release(spark: Spark) -> None:
    if spark.release < _CONNECT_RELEASE:
        raise MissingError(
            f"spark.sharing: connect needs Spark 4; {spark.home} is {spark.version}",
            remedy="set spark.sharing to fair, or use a newer Spark",
        )


def _check_client(python: Path, environment: Mapping[str, str]) -> None:
    """Raises MissingError when notebooks of this Python could not be clients of a Spark Connect server."""
    inherited = {name: value for name, value in environment.items() if name != "PYTHONSTARTUP"}
    try:
        done = subprocess.run(
            [python, "-c", _ASK, *_CLIENT_PACKAGES],
            cwd="/", env=inherited, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True,
        )  # fmt: skip
        missing = [_CLIENT_PACKAGES[name] for name in done.stdout.split()]
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"spark.python: {python} cannot say what packages it has: {error}") from error
    if missing:
        raise MissingError(
            f"spark.sharing: connect: {python} lacks {', '.join(missing)}, which clients of Spark Connect need",
            remedy=f"{python} -m pip install {' '.join(missing)}",
        )


def _conf_directory(spark: Spark, environment: Mapping[str, str]) -> Path | None:
    """The site's own configuration of this Spark: $SPARK_CONF_DIR, else the conf directory of the distribution."""
    named = environment.get("SPARK_CONF_DIR")
    directory = Path(named) if named else spark.home / "conf"
    return directory if directory.is_dir() else None


def _ui_filter(the_java: Java, spark: Spark, cache: Path) -> bytes:
    """The filter's jar: kept beside the class-data archives, or made anew where nothing can be kept."""
    try:
        private_files.make(cache)
        if not private_files.distrust(cache):
            return ui_filter.compile_filter(the_java.executable, spark.jars, cache).read_bytes()
    except OSError:
        pass  # no home directory that takes files
    with tempfile.TemporaryDirectory(prefix="ood-") as directory:
        return ui_filter.compile_filter(the_java.executable, spark.jars, Path(directory)).read_bytes()

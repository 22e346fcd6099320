"""What the environment brings for a session: its variables, and the programs for settings that are not set."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import environment_check, java, jupyter_home
from ood_runtime.errors import MissingError
from ood_runtime.settings import Settings

# What every node has on PATH; software of an environment is elsewhere.
_SYSTEM = frozenset(f"{base}/{name}" for base in ("", "/usr", "/usr/local") for name in ("bin", "sbin"))


@dataclass(frozen=True)
class Provided:
    """The ``settings`` with what the environment brings, the variables with it loaded, and what to know about it."""

    settings: Settings
    environment: Mapping[str, str]
    notices: tuple[str, ...] = ()


def provide(settings: Settings, job: Mapping[str, str]) -> Provided:
    """Load the environment of the settings in a ``job``, and see what is in it. Raises MissingError."""
    loaded = environment_check.load(settings.environment, job)
    if settings.environment.container or not settings.environment.loads:
        return Provided(settings, loaded)
    search = os.pathsep.join(_brought(settings, job, loaded))
    found = shutil.which("python3", path=search) or shutil.which("python", path=search)
    python = Path(found) if found else None
    notices: list[str] = []
    jupyter = settings.jupyter
    if jupyter.command is None:
        jupyter = jupyter.model_copy(update={"command": _jupyter(settings, search, loaded, notices)})
    if jupyter.python is None and python:
        jupyter = jupyter.model_copy(update={"python": _kernel_python(python, loaded, notices)})
    spark = settings.spark
    if spark.home is None and python and not loaded.get("SPARK_HOME"):
        spark = spark.model_copy(update={"home": _pyspark(python)})
    if spark.java_home is None and loaded.get("JAVA_HOME") and loaded["JAVA_HOME"] == job.get("JAVA_HOME"):
        spark = spark.model_copy(update={"java_home": _java(search, loaded, notices)})
    return Provided(settings.model_copy(update={"jupyter": jupyter, "spark": spark}), loaded, tuple(notices))


def _brought(settings: Settings, job: Mapping[str, str], loaded: Mapping[str, str]) -> list[str]:
    """The directories of PATH that the environment has put there: what was there before may be anything of the user."""
    before = set(_directories(job))
    own = {f"{loaded[name]}/bin" for name in ("CONDA_PREFIX", "VIRTUAL_ENV") if loaded.get(name)}
    if not settings.environment.conda:
        own -= {f"{loaded.get('CONDA_PREFIX')}/bin"}
    # Modules that the job's script had loaded already bring nothing new.
    same = settings.environment.all_modules and loaded.get("LOADEDMODULES") == job.get("LOADEDMODULES")
    home = job.get("HOME") or "/nonexistent"
    return [
        directory
        for directory in _directories(loaded)
        if directory not in before
        or directory in own
        or (same and directory not in _SYSTEM and not directory.startswith(f"{home}/"))
    ]


def _directories(environment: Mapping[str, str]) -> list[str]:
    return [directory for directory in environment.get("PATH", "").split(os.pathsep) if directory]


def _jupyter(settings: Settings, search: str, loaded: Mapping[str, str], notices: list[str]) -> str | None:
    """The environment's Jupyter, if it has one that can be used."""
    interface = settings.jupyter.interface
    found = shutil.which(f"jupyter-{interface}", path=search)
    if found is None:
        return None
    try:
        jupyter_home.find(found, interface, loaded)
    except MissingError as error:
        notices.append(f"the Jupyter of the environment is not used: {error.what}")
        return None
    return found


def _kernel_python(python: Path, loaded: Mapping[str, str], notices: list[str]) -> str | None:
    """The environment's Python, if notebooks can use it."""
    if jupyter_home.version("ipykernel", python, loaded):
        return str(python)
    notices.append(
        f"notebooks do not use the environment's {python}, which has no ipykernel; install it with "
        f"{python} -m pip install ipykernel, or set jupyter.python"
    )
    return None


def _java(search: str, loaded: Mapping[str, str], notices: list[str]) -> Path | None:
    """The home of the environment's Java, if it has one that can be used, where JAVA_HOME is still that of the job."""
    found = shutil.which("java", path=search)
    if found is None:
        return None
    home = Path(found).resolve().parents[1]
    try:
        java.find(home, loaded)
    except MissingError as error:
        notices.append(f"the Java of the environment is not used: {error.what}")
        return None
    return home


def _pyspark(python: Path) -> Path | None:
    """The pyspark package of ``python``, which is a whole Spark."""
    places = (place / "pyspark" for place in jupyter_home.site_packages(python))
    return next((place for place in places if (place / "jars").is_dir()), None)

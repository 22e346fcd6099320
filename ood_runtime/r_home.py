"""The only place that finds the R of a session, and sees whether RStudio can use it."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ood_runtime.errors import MissingError

# Where packages and R's own installer put it; rserver looks there too.
_PLACES = (Path("/usr/local/bin/R"), Path("/usr/bin/R"), Path("/opt/R/bin/R"))
_REMEDY = "load a module of R, install r-base-core (Debian) or R-core (Red Hat), or set rstudio.r to the path of an R"
_SECONDS = 30


@dataclass(frozen=True)
class R:
    """An R that RStudio can use: the ``command``, and its R_HOME."""

    command: Path
    home: Path
    version: str


def find(command: str | None, environment: Mapping[str, str]) -> R:
    """Find the R called ``command``, a name on PATH or a path; None: R on PATH, else where it usually is.

    Raises MissingError when there is none, it does not work, or it is not built as a shared library.
    """
    path = _command(command, environment)
    home = _home(path, environment)
    if not _library(home):
        raise MissingError(
            f"{path} has no libR.so ({home}/lib), which RStudio loads",
            remedy="use an R that was configured with --enable-R-shlib, as those of Debian, Red Hat and conda are, "
            "and set rstudio.r to its path",
        )
    return R(path, home, _version(home))


def _command(command: str | None, environment: Mapping[str, str]) -> Path:
    search = environment.get("PATH", os.defpath)
    name = command or "R"
    found = shutil.which(str(Path(name).expanduser()) if "/" in name else name, path=search)
    if found is None and command is None:
        found = next((str(path) for path in _PLACES if os.access(path, os.X_OK)), None)
    if found is None:
        raise MissingError(f"no R: {name} is not there or cannot be run; PATH is {search}", remedy=_REMEDY)
    return Path(found).absolute()


def _home(path: Path, environment: Mapping[str, str]) -> Path:
    """What R itself calls its home; an R_HOME of another R in the environment does not count."""
    clean = {name: value for name, value in environment.items() if name != "R_HOME"}
    try:
        done = subprocess.run(
            [path, "RHOME"], env=clean, cwd="/", capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{path} cannot be run: {error}", remedy=_REMEDY) from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or not Path(lines[-1]).is_dir():
        said = (done.stderr or done.stdout).strip()[-300:]
        raise MissingError(f"{path} is no R that works: `R RHOME` said {said!r}", remedy=_REMEDY)
    return Path(lines[-1])


def _library(home: Path) -> bool:
    return any((home / lib / "libR.so").exists() for lib in ("lib", "lib64"))


def _version(home: Path) -> str:
    """From the description of its base package; empty when that is elsewhere."""
    try:
        match = re.search(r"(?m)^Version: (\S+)", (home / "library/base/DESCRIPTION").read_text())
    except OSError:
        return ""
    return match[1] if match else ""

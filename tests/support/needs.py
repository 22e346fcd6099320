"""The only place where a test says what it cannot do without.

On a user's machine such a test is skipped and says why. In continuous integration (``CI=true``), where
everything that can be installed is installed, it fails: a skip there would hide that nothing was tested.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def need(*names: str) -> str:
    """The path of the first of these programs that is here, beside our Python or on PATH.

    Several names are for a program that systems call differently. Skips or fails when none is here.
    """
    beside_us = str(Path(sys.executable).parent)
    places = os.pathsep.join([beside_us, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = next(filter(None, (shutil.which(name, path=places) for name in names)), None)
    if found is None:
        missing(f"needs the program {' or '.join(names)}")
    return found


def need_java(release: int) -> Path:
    """The JAVA_HOME of this Java release, from the system's packages."""
    java = next(Path("/usr/lib/jvm").glob(f"*{release}*/bin/java"), None)
    if java is None:
        missing(f"needs Java {release} in /usr/lib/jvm")
    return java.parent.parent


def need_spark35() -> Path:
    """The SPARK_HOME of Spark 3.5 that ./check keeps in its cache."""
    home = Path(os.environ.get("OOD_TEST_SPARK35", "/nonexistent"))
    if not (home / "jars").is_dir():
        missing("needs Spark 3.5 in OOD_TEST_SPARK35, which ./check installs")
    return home


def need_openpbs() -> Path:
    """The PBS_EXEC of an OpenPBS that is installed here, with all its daemons.

    Skips in continuous integration too where there is none: no distribution has packages of it that could be installed.
    """
    with contextlib.suppress(OSError):
        found = re.search(r"^PBS_EXEC=(\S+)$", Path("/etc/pbs.conf").read_text(encoding="utf-8"), re.MULTILINE)
        if found and (Path(found[1]) / "sbin" / "pbs_server").exists():
            return Path(found[1])
    pytest.skip("needs an OpenPBS with pbs_server, named by PBS_EXEC in /etc/pbs.conf; there are no packages of it")


def need_r_package(name: str) -> None:
    """A package that R can load."""
    code = f"quit(status = !requireNamespace('{name}', quietly = TRUE))"
    if subprocess.run([need("Rscript"), "-e", code], capture_output=True, check=False).returncode:
        missing(f"needs the R package {name}")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where nothing that can be installed may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; in CI nothing is skipped for want of an installable package", pytrace=False)
    pytest.skip(reason)

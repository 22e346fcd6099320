"""PRoot: shows other paths to a program by looking at each of its system calls; needs no rights, and is slow."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime.isolation import Isolation, failure

PROGRAMS = ("proot",)
PACKAGE = "PRoot 5.3 or newer"
REMEDY = "use PRoot 5.3 or newer, or set rstudio.isolation to another one"
# Older ones do not know statx(2): rserver ends with "Unable to determine install path" (proot-me/proot#262).
_OLDEST = (5, 3)


def unusable(isolation: Isolation, environment: Mapping[str, str]) -> str:
    """Why it does not work here; empty when it does."""
    try:
        done = subprocess.run(
            [isolation.program, "--version"],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    match = re.search(r"\bv?(\d+)\.(\d+)(\.\d+)?", done.stdout + done.stderr)
    if not match:
        return f"{isolation.program} does not tell its version"
    if (int(match[1]), int(match[2])) < _OLDEST:
        return f"{isolation.program} is PRoot {match[0]}, under which rserver does not find its own files"
    return failure([str(isolation.program), "-b", "/var:/tmp", "true"], environment)


def prefix(isolation: Isolation, own: Path, kept: Sequence[Path], script: Path) -> tuple[str, ...]:
    """``own`` in the place of /tmp, and ``kept`` in theirs."""
    words = [str(isolation.program), "--kill-on-exit", "-b", f"{own}:/tmp"]
    for path in kept:
        words += ["-b", f"{path}:{path}"]
    return tuple(words)

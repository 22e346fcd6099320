"""Ways to give RStudio Server a /tmp of its own: a module for each program that can do it.

Some releases keep sockets and keys at fixed places in /tmp. There those of another user are in the way, or wait for
whoever comes.
"""

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ood_runtime.errors import MissingError

# The first that works is taken. PRoot comes last: it stops a program at each of its system calls.
ORDER = ("bubblewrap", "unshare", "proot")
TMP = Path("/tmp")  # noqa: S108  (the one that is covered)
_SECONDS = 30


@dataclass(frozen=True)
class Isolation:
    """A program that works here, and the image that it runs others in, if there is one."""

    name: str
    program: Path
    image: Path | None = None


def installed(name: str, environment: Mapping[str, str]) -> Path | None:
    """The program of the isolation called ``name``, whether it works or not."""
    search = os.pathsep.join([environment.get("PATH", os.defpath), "/usr/bin", "/bin"])
    found = next(filter(None, (shutil.which(program, path=search) for program in _module(name).PROGRAMS)), None)
    return Path(found) if found else None


def find(name: str, environment: Mapping[str, str], image: Path | None = None) -> Isolation:
    """The isolation called ``name``, proven to work here. Raises MissingError with the reason when it does not."""
    module, program = _module(name), installed(name, environment)
    if program is None:
        raise MissingError(
            f"isolation {name}: {' or '.join(module.PROGRAMS)} is not on PATH", remedy=f"install {module.PACKAGE}"
        )
    found = Isolation(name, program, image)
    if reason := module.unusable(found, environment):
        raise MissingError(f"isolation {name}: {reason}", remedy=module.REMEDY)
    return found


def first(environment: Mapping[str, str]) -> Isolation:
    """The first isolation that works here. Raises MissingError with the reason of each when none does."""
    reasons = []
    for name in ORDER:
        try:
            return find(name, environment)
        except MissingError as error:
            reasons.append(error.what.removeprefix("isolation "))
    raise MissingError(
        "nothing here can give RStudio a /tmp of its own: " + "; ".join(reasons),
        remedy="install bubblewrap, or allow user namespaces (sysctl user.max_user_namespaces)",
    )


def prefix(isolation: Isolation, own: Path, kept: Sequence[Path], script: Path) -> tuple[str, ...]:
    """What to write before a command, so that it has the directory ``own`` as its /tmp, and still sees ``kept``.

    ``script`` is where the text of ``script_text`` stands, for those that need one.
    """
    words: tuple[str, ...] = _module(isolation.name).prefix(isolation, own, kept, script)
    return words


def script_text(isolation: Isolation, own: Path, kept: Sequence[Path]) -> str | None:
    """The script that ``prefix`` runs; None for those that need none."""
    make = getattr(_module(isolation.name), "script_text", None)
    return None if make is None else str(make(own, kept))


def below_tmp(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those of ``paths`` that another /tmp would hide, without what lies in another one of them."""
    every = {form for path in paths for form in (path, path.resolve())}  # also where a link leads into /tmp
    hidden = sorted(path for path in every if TMP in path.parents)
    return tuple(path for path in hidden if not any(other in path.parents for other in hidden))


def failure(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command that tries something out: why it failed, in its own words; empty when it worked."""
    try:
        done = subprocess.run(
            argv, env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return "" if done.returncode == 0 else f"{Path(argv[0]).name} says: {said[-1] if said else done.returncode}"


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")

"""The only place that finds the Jupyter to start: its command, its Python and its versions."""

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ood_runtime.errors import MissingError

Interface = Literal["lab", "notebook"]

PACKAGES: Mapping[Interface, str] = {"lab": "jupyterlab", "notebook": "notebook"}
# The first releases whose configuration is the one that we write.
OLDEST = {"jupyterlab": 4, "notebook": 7, "jupyter_server": 2}
_ASK = "import importlib.metadata as m, sys; print([m.version(n) for d in m.distributions(name=n)][:1])"
# How pip writes the first lines where the path of the interpreter is long or has a blank.
_SHELL_TRICK = re.compile(r"^'''exec' (?P<python>.+) \"\$0\" \"\$@\"$")
# The same in an environment that can be moved: the interpreter lies beside the script.
_BESIDE = re.compile(r"""dirname .*\)["']*/["']*(?P<name>python[\w.]*)["']*$""")


@dataclass(frozen=True)
class Jupyter:
    """A Jupyter that can be started.

    ``python`` is None when ``command`` is not a Python script, such as a site's wrapper; then ``version`` is
    empty and ``has_ipykernel`` is taken to be true. ``kernel_python`` is the Python of the kernel Python 3, where it is
    not Jupyter's own.
    """

    python: Path | None
    command: Path
    interface: Interface
    version: str
    has_ipykernel: bool
    kernel_python: Path | None = None


def find(command: str | None, interface: Interface, env: Mapping[str, str]) -> Jupyter:
    """Find the Jupyter named ``command``; None: the one beside our own Python, or else on PATH.

    ``command`` is a name on PATH or a path. Starts no Jupyter. Raises MissingError when there is none, or
    none that is new enough.
    """
    path = _command(command, interface, env)
    python = _interpreter(path, env)
    if python is None:
        return Jupyter(None, path, interface, "", True)
    package = PACKAGES[interface]
    versions = {name: _version(name, python, path, env) for name in (package, "jupyter_server", "ipykernel")}
    for name in (package, "jupyter_server"):
        _check(name, versions[name], python)
    return Jupyter(python, path, interface, versions[package], bool(versions["ipykernel"]))


def find_kernel_python(setting: str | None, env: Mapping[str, str]) -> Path | None:
    """The Python that the setting ``jupyter.python`` names. Raises MissingError when it has no ipykernel."""
    if setting is None:
        return None
    found = shutil.which(os.path.expanduser(setting), path=env.get("PATH"))  # noqa: PTH111
    if not found:
        raise MissingError(f"jupyter.python: there is no Python {setting}", remedy="set jupyter.python to a path")
    python = Path(os.path.abspath(found))  # noqa: PTH100  (a link is another Python: a virtual environment's)
    if not version("ipykernel", python, env):
        raise MissingError(
            f"jupyter.python: {python} has no ipykernel, which a notebook's kernel needs",
            remedy=f"{python} -m pip install ipykernel",
        )
    return python


def version(package: str, python: Path, env: Mapping[str, str]) -> str:
    """The version of a package that ``python`` can import; empty when there is none."""
    return _version(package, python, python, env)


def site_packages(python: Path) -> list[Path]:
    """Where the packages of ``python`` usually are."""
    return [Path(place) for place in _site_packages(python, python)]


def _command(command: str | None, interface: Interface, env: Mapping[str, str]) -> Path:
    program = f"jupyter-{interface}"
    search = env.get("PATH", os.defpath)
    if command is None:
        beside = Path(sys.executable).parent / program
        found = str(beside) if os.access(beside, os.X_OK) else shutil.which(program, path=search)
        looked = f"{beside} and PATH ({search})"
    elif "/" in command:
        found = shutil.which(str(Path(command).expanduser().absolute()))
        looked = command
    else:
        found, looked = shutil.which(command, path=search), f"PATH ({search})"
    if found is None:
        raise MissingError(
            f"no Jupyter: {command or program} is not there or cannot be run; looked at {looked}",
            remedy=f"install it with {_install(PACKAGES[interface])}, "
            f"or set jupyter.command to the path of a {program}",
        )
    return _dispatched(Path(found), program)


def _dispatched(path: Path, program: str) -> Path:
    """``jupyter`` itself only starts other programs: the one that it would start lies beside it."""
    if path.name != "jupyter":
        return path
    for directory in (path.parent, path.resolve().parent):
        if os.access(directory / program, os.X_OK):
            return directory / program
    raise MissingError(
        f"{path} is there, but no {program} beside it",
        remedy=f"install it with {_install(PACKAGES['lab' if program.endswith('lab') else 'notebook'])}, "
        f"or set jupyter.command to the path of a {program}",
    )


def _interpreter(path: Path, env: Mapping[str, str]) -> Path | None:
    """The Python of the script ``path``, from its first lines; None when it is no Python script."""
    with path.open("rb") as file:
        lines = file.read(4096).decode(errors="replace").splitlines()
    if not lines or not lines[0].startswith("#!"):
        return None
    python = _python_of(lines[0][2:].strip(), lines[1] if len(lines) > 1 else "", path, env)
    if python is not None and not os.access(python, os.X_OK):
        raise MissingError(
            f"{path} is to be run by {python}, which is not there or cannot be run",
            remedy="its environment was moved or removed: install Jupyter again, or set jupyter.command",
        )
    return python


def _python_of(shebang: str, second: str, path: Path, env: Mapping[str, str]) -> Path | None:
    if match := _SHELL_TRICK.match(second.strip()):
        if beside := _BESIDE.search(match["python"]):
            return path.resolve().parent / beside["name"]
        return Path(shlex.split(match["python"])[0])
    if _is_python(shebang):
        return Path(shebang)
    words = shebang.split()
    if words and Path(words[0]).name == "env":
        program = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        found = shutil.which(program, path=env.get("PATH", os.defpath)) if _is_python(program) else None
        return Path(found) if found else None
    return Path(words[0]) if words and _is_python(words[0]) else None


def _is_python(program: str) -> bool:
    return re.fullmatch(r"(python|pypy)[\d.]*", Path(program).name) is not None


def _version(name: str, python: Path, path: Path, env: Mapping[str, str]) -> str:
    """The version of a package in ``python``'s environment; empty when it is not there.

    Read from the package's own metadata; only when that is not in one of the usual places Python is asked.
    """
    for found in importlib.metadata.distributions(name=name, path=_site_packages(python, path)):
        return found.version
    try:
        done = subprocess.run(
            [python, "-c", f"n = {name!r}; {_ASK}"],
            cwd="/", env=dict(env), capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"'(.+)'", done.stdout)
    return match[1] if match else ""


def _site_packages(python: Path, path: Path) -> list[str]:
    """Where the packages of ``python``, and those installed with the script ``path``, usually are."""
    release = re.search(r"3\.\d+", python.resolve().name)
    if release is None:
        return []
    places = []
    for prefix in (path.parent.parent, path.resolve().parent.parent, python.parent.parent):
        places += [prefix / lib / f"python{release[0]}" / "site-packages" for lib in ("lib", "lib64")]
        places += [prefix / "lib" / "python3" / "dist-packages"]
        places += [prefix / "lib" / f"python{release[0]}" / "dist-packages"]
    return [str(place) for place in dict.fromkeys(places) if place.is_dir()]


def _check(name: str, version: str, python: Path) -> None:
    oldest = OLDEST[name]
    if not version:
        raise MissingError(f"{python} has no {name}", remedy=f"install it with {_install(name, python)}")
    if int(re.sub(r"\D.*", "", version) or 0) < oldest:
        raise MissingError(
            f"{python} has {name} {version}; {oldest} or newer is needed",
            remedy=f"upgrade it with {_install(name, python)}, or set jupyter.command to a newer Jupyter",
        )


def _install(name: str, python: Path | None = None) -> str:
    return f"{python or sys.executable} -m pip install '{name}>={OLDEST[name]}'"

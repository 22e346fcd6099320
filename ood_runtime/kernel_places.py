"""Which software environments may have a kernel: modules, conda and virtual environments that the settings name."""

import fnmatch
import glob
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ood_runtime.errors import MissingError
from ood_runtime.kernelspecs import Language, Source
from ood_runtime.render import render
from ood_runtime.settings.environment import Environment
from ood_runtime.settings.kernels import Kernels

_MARK = "ood-runtime-module"
_LANGUAGES: tuple[Language, ...] = ("python", "r", "julia")


@dataclass(frozen=True)
class Place:
    """An environment to look into; only ``languages`` count there."""

    source: Source
    name: str
    environment: Environment = field(default_factory=Environment)
    languages: tuple[Language, ...] = _LANGUAGES


def find(settings: Kernels, environment: Mapping[str, str]) -> list[Place]:
    """The environments that the settings name, as far as they are there.

    Raises MissingError when modules are named, and there are none on this node.
    """
    own = [Place("environment", name, loads) for name, loads in settings.environments.items()]
    venvs = [
        Place("venv", path, Environment(venv=Path(path)), ("python",))
        for path in _directories(settings.venvs, "pyvenv.cfg", environment)
    ]
    programs = [Place("program", language, languages=(language,)) for language in settings.programs]
    modules = [Place("module", name, Environment(modules=[name])) for name in _modules(settings, environment)]
    conda = [Place("conda", path, Environment(conda=path)) for path in _conda(settings.conda, environment)]
    return [*own, *modules, *conda, *venvs, *programs]


def _modules(settings: Kernels, environment: Mapping[str, str]) -> list[str]:
    """The names of the modules that match, each with its version, as `module avail` has them."""
    if not settings.modules:
        return []
    script = render("kernel_modules.sh.j2", mark=_MARK)
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", script], env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            timeout=settings.look_seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingError(
            f"`module avail` gave no answer within {settings.look_seconds:g} s", remedy="set kernels.look_seconds"
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().removeprefix("ood-runtime: ")
        raise MissingError(f"kernels.modules: {said}", remedy="leave kernels.modules empty where there are no modules")
    names = list(dict.fromkeys(_listed(done.stdout.decode(errors="surrogateescape"))))
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in settings.modules)]


def _listed(output: str) -> Iterator[str]:
    """What a terse list names: no directories, which end in a colon or a slash, and no remarks such as (default)."""
    for line in output.splitlines():
        name = re.sub(r"\s*([(<].*[)>]|@)$", "", line.removeprefix(f"{_MARK} ")).strip()
        if line.startswith(f"{_MARK} ") and name and not name.endswith((":", "/")):
            yield name


def _conda(patterns: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The directories of the conda environments whose name, or path, matches."""
    found = []
    for path in _conda_environments(environment) if patterns else ():
        for pattern in patterns:
            told = path if "/" in pattern else Path(path).name
            if fnmatch.fnmatchcase(told, _expanded(pattern, environment)) and path not in found:
                found.append(path)
    paths = [pattern for pattern in patterns if "/" in pattern]
    return list(dict.fromkeys([*found, *_directories(paths, "conda-meta", environment)]))


def _conda_environments(environment: Mapping[str, str]) -> list[str]:
    """Where conda itself looks for them, and where it notes those that are elsewhere."""
    home = Path(environment.get("HOME", "/nonexistent"))
    program = environment.get("CONDA_EXE")
    parents = [
        *filter(None, re.split(r"[:,]", environment.get("CONDA_ENVS_DIRS") or environment.get("CONDA_ENVS_PATH", ""))),
        *([str(Path(program).parents[1] / "envs")] if program and "/" in program.strip("/") else ()),
        *([f"{root}/envs"] if (root := environment.get("MAMBA_ROOT_PREFIX")) else ()),
        str(home / ".conda" / "envs"),
    ]
    try:
        noted = (home / ".conda" / "environments.txt").read_text(errors="surrogateescape").splitlines()
    except OSError:
        noted = []
    inside = [str(path) for parent in parents for path in sorted(Path(parent).glob("*"))]
    return [path for path in dict.fromkeys([*inside, *noted]) if (Path(path) / "conda-meta").is_dir()]


def _directories(patterns: Sequence[str], inside: str, environment: Mapping[str, str]) -> list[str]:
    """The directories that match one of the patterns and have ``inside`` in them."""
    # Not of Path, which takes no absolute patterns.
    paths = [path for pattern in patterns for path in sorted(glob.glob(_expanded(pattern, environment)))]  # noqa: PTH207
    found = [os.path.normpath(path) for path in paths if (Path(path) / inside).exists()]
    return list(dict.fromkeys(found))


def _expanded(pattern: str, environment: Mapping[str, str]) -> str:
    """``~`` and variables as the job has them; what has no value stays, and matches nothing."""
    home = re.sub(r"^~(?=/|$)", lambda _: environment.get("HOME", "~"), pattern)
    return re.sub(r"\$(\w+|\{\w+\})", lambda name: environment.get(name[1].strip("{}"), name[0]), home)

"""Which software environments may have a kernel: modules, conda and virtual environments that the settings name."""

import fnmatch
import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ood_runtime import environment_names
from ood_runtime.kernelspecs import Language, Source
from ood_runtime.settings.environment import Environment
from ood_runtime.settings.kernels import Kernels

_LANGUAGES: tuple[Language, ...] = ("python", "r", "julia")


@dataclass(frozen=True)
class Place:
    """An environment to look into; only ``languages`` count there."""

    source: Source
    name: str
    environment: Environment = field(default_factory=Environment)
    languages: tuple[Language, ...] = _LANGUAGES


def find(settings: Kernels, environment: Mapping[str, str]) -> list[Place]:
    """The environments that the settings name, as far as they are there."""
    own = [Place("environment", name, loads) for name, loads in settings.environments.items()]
    venvs = [
        Place("venv", path, Environment(venv=Path(path)), ("python",))
        for path in _directories(settings.venvs, "pyvenv.cfg", environment)
    ]
    programs = [Place("program", language, languages=(language,)) for language in settings.programs]
    modules = [Place("module", name, Environment(modules=[name])) for name in _modules(settings.modules, environment)]
    conda = [Place("conda", path, Environment(conda=path)) for path in _conda(settings.conda, environment)]
    return [*own, *modules, *conda, *venvs, *programs]


def _modules(patterns: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The modules that match, each with its version."""
    names = environment_names.modules(environment) if patterns else []
    return [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _conda(patterns: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The directories of the conda environments whose name, or path, matches."""
    known = environment_names.conda(environment) if patterns else {}
    expanded = [_expanded(pattern, environment) for pattern in patterns]
    found = [
        str(path)
        for name, path in known.items()
        if any(fnmatch.fnmatchcase(str(path) if "/" in pattern else name, pattern) for pattern in expanded)
    ]
    elsewhere = _directories([pattern for pattern in patterns if "/" in pattern], "conda-meta", environment)
    return list(dict.fromkeys([*found, *elsewhere]))


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

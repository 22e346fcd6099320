"""The only place that remembers which kernels were found, so that a session has them when it is ready, not after."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ood_runtime import private_files
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings.environment import Environment
from ood_runtime.settings.kernels import Kernels

_VERSION = 1
# What decides, beside the settings, which modules and programs there are.
_VARIABLES = ("MODULEPATH", "LOADEDMODULES", "PATH", "CONDA_EXE", "HOME")


def read(settings: Kernels, environment: Mapping[str, str]) -> tuple[Kernel, ...]:
    """The kernels that could be used when they were last looked for, with these settings in this environment."""
    if not settings.wanted:
        return ()
    path = _path(settings, environment)
    try:
        if private_files.distrust(path):  # what stands there is run
            return ()
        return tuple(
            Kernel(**{**kernel, "environment": Environment.model_validate(kernel["environment"])})
            for kernel in json.loads(path.read_bytes())
        )
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def keep(kernels: Sequence[Kernel], settings: Kernels, environment: Mapping[str, str]) -> None:
    """Remember ``kernels``; where nothing can be kept, each session looks for itself."""
    path = _path(settings, environment)
    entries = [{**asdict(kernel), "environment": kernel.environment.model_dump(mode="json")} for kernel in kernels]
    with suppress(OSError):
        private_files.make(path.parent)
        private_files.write(path, json.dumps(entries))


def _path(settings: Kernels, environment: Mapping[str, str]) -> Path:
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or "/nonexistent") / ".cache"
    parts = [
        _VERSION,
        settings.model_dump(mode="json"),
        [environment.get(name) for name in _VARIABLES],
        _kind_of_node(),
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return Path(cache) / "ood-runtime" / "kernels" / f"{key}.json"


def _kind_of_node() -> str:
    """Nodes called node01 and node02 are alike; a home directory may be on several clusters."""
    return socket.gethostname().rstrip("0123456789") + os.uname().machine

"""The only place that asks what could be loaded: modules, module collections, conda environments."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ood_runtime import environment_load
from ood_runtime.errors import OodRuntimeError

# What follows a module's name in a terse list: <L>, (default), (L,D), and what it is another name of.
_MARKS = re.compile(r"\s*(<[^>]*>|\([^)]*\)|\s->.*)+$")


def modules(job: Mapping[str, str]) -> list[str]:
    """The modules that there are, also those that only other modules make visible; nothing when nobody can tell."""
    names = dict.fromkeys(filter(None, map(_module, _lines("modules", job))))
    return list(names)


def collections(job: Mapping[str, str]) -> list[str]:
    """The user's module collections; nothing when nobody can tell."""
    return [name for line in _lines("collections", job) if (name := _module(line)) and not line.endswith(":")]


def conda(job: Mapping[str, str]) -> dict[str, Path]:
    """The conda environments by their names, as far as they have one, else by their paths."""
    try:
        done = environment_load.run("environment_names.sh.j2", job, what="conda")
        paths = [Path(path) for path in json.loads(done.output)["envs"]]
    except (OodRuntimeError, ValueError, KeyError, TypeError):
        return {}
    return {path.name if path.parent.name == "envs" else str(path): path for path in paths}


def _lines(what: Literal["modules", "collections"], job: Mapping[str, str]) -> list[str]:
    try:
        done = environment_load.run("environment_names.sh.j2", job, what=what)
    except OodRuntimeError:
        return []
    return [line.strip() for line in done.output.decode(errors="surrogateescape").splitlines()]


def _module(line: str) -> str:
    """The name in a line of a terse list; nothing in one that is a title, or names a directory of versions."""
    name = _MARKS.sub("", line)
    if name.endswith((":", "/")) or name.startswith(("/", "-")):
        return ""
    return name[1:-1] if name[:1] in ("'", '"') and name[-1:] == name[:1] else name

"""What is wrong with an environment that cannot be loaded: all of it at once, with the nearest names that there are."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ood_runtime import environment_load, environment_names
from ood_runtime.errors import MissingError, collect
from ood_runtime.settings.environment import Environment

_NEAREST = 4


def load(environment: Environment, job: Mapping[str, str]) -> dict[str, str]:
    """The variables of a ``job`` with ``environment`` loaded.

    Raises MissingError that tells everything that cannot be loaded. Only then is each step tried by itself.
    """
    missing = list(_container(environment.container))
    try:
        loaded = environment_load.load(environment, job)
    except MissingError as error:
        raise collect([*missing, *(_steps(environment, job) or [error])]) from error
    if missing:
        raise collect(missing)
    return loaded


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are most like ``name``; other versions of the same thing count as like it."""
    lower = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), lower, n=_NEAREST, cutoff=0.6)
    same = [other for other in lower if other.partition("/")[0] == name.lower().partition("/")[0]]
    return [lower[other] for other in dict.fromkeys([*close, *same])][:_NEAREST]


def _steps(environment: Environment, job: Mapping[str, str]) -> list[MissingError]:
    """What each step of an environment says that could not be loaded as a whole, each one on top of those before it."""
    found: dict[str, MissingError] = {}
    for step in environment.single:
        try:
            job = environment_load.load(step, job)
        except MissingError as error:
            told = _told(step, error, job, alone=not found)
            if told:
                found.setdefault(told.what, told)
    return list(found.values())


def _told(step: Environment, error: MissingError, job: Mapping[str, str], *, alone: bool) -> MissingError | None:
    """The error of a single step with the names that there are; None where it may follow from an earlier one."""
    if step.all_modules:
        names, key = environment_names.modules(job), "modules" if step.modules else "more_modules"
        return _unless_known(key, "module", step.all_modules[0], names, "`module avail` lists them") or error
    if step.collection:
        names = environment_names.collections(job)
        listed = "`module savelist` lists them"
        return _unless_known("collection", "module collection", step.collection, names, listed) or error
    if step.conda:
        known = environment_names.conda(job)
        names = [*known, *map(str, known.values())]
        unknown = _unless_known("conda", "conda environment", step.conda, names, "`conda env list` lists them")
        return unknown or (error if known or alone else None)
    if step.venv:
        return _no_venv(step.venv)
    return error if alone else None


def _unless_known(key: str, what: str, name: str, names: Sequence[str], listed: str) -> MissingError | None:
    """That there is no ``name``; None when there is, or nobody knows what there is."""
    if not names or any(other == name or other.startswith(f"{name}/") for other in names):
        return None
    return _unknown(f"environment.{key}: there is no {what} {name}", name, names, listed)


def _no_venv(path: Path) -> MissingError:
    there = [str(python.parents[1]) for python in sorted(path.parent.glob("*/bin/python"))]
    what = "has no bin/python that can be run" if path.exists() else "is not there"
    return _unknown(f"environment.venv: {path} {what}", str(path), there, "`python3 -m venv DIRECTORY` makes one")


def _container(image: Path | None) -> Iterator[MissingError]:
    if image and not image.exists():
        there = [str(other) for other in sorted(image.parent.glob("*.sif"))]
        yield _unknown(f"environment.container: {image} is not there", str(image), there, "name an image of Apptainer")


def _unknown(what: str, name: str, names: Sequence[str], otherwise: str) -> MissingError:
    near = nearest(name, names)
    return MissingError(what, remedy=f"did you mean {' or '.join(near)}?" if near else otherwise)

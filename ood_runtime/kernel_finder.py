"""The only place that looks for the Pythons, Rs and Julias that notebooks can use: it loads each environment once."""

import glob
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ood_runtime.kernelspecs import Kernel, Language, Source
from ood_runtime.render import render
from ood_runtime.settings.kernels import Kernels

_MARK = "ood-runtime-kernel"
_LANGUAGES: tuple[Language, ...] = ("python", "r", "julia")
_PACKAGES: Mapping[Language, str] = {"python": "ipykernel", "r": "IRkernel", "julia": "IJulia"}
_LINES = 3  # of what an environment says when it fails


@dataclass(frozen=True)
class Place:
    """A software environment to look into; only ``languages`` count."""

    source: Source
    name: str
    languages: tuple[Language, ...] = _LANGUAGES


def places(settings: Kernels, environment: Mapping[str, str]) -> list[Place]:
    """The environments that the settings name, as far as they are there."""
    venvs = [Place("venv", path, ("python",)) for path in _matching(settings.venvs, "pyvenv.cfg", environment)]
    programs = [Place("program", language, (language,)) for language in settings.programs]
    return [*venvs, *programs]


def look(found: Sequence[Place], settings: Kernels, environment: Mapping[str, str]) -> Iterator[list[Kernel]]:
    """The kernels of each of the places, in their order; as many at once as there are processors."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(lambda place: _look(place, settings.look_seconds, environment), found)


def _matching(patterns: Sequence[str], inside: str, environment: Mapping[str, str]) -> list[str]:
    """The directories that match one of the patterns and have the file ``inside``."""
    found: dict[str, None] = {}
    for pattern in patterns:
        expanded = _expand(pattern, environment)
        for path in sorted(glob.glob(expanded)):
            if (Path(path) / inside).is_file():
                found[str(Path(path))] = None
    return list(found)


def _expand(pattern: str, environment: Mapping[str, str]) -> str:
    """``~`` and variables as the job has them; what has no value stays, and matches nothing."""
    home = re.sub(r"^~(?=/|$)", lambda _: environment.get("HOME", "~"), pattern)
    return re.sub(r"\$(\w+|\{\w+\})", lambda name: environment.get(name[1].strip("{}"), name[0]), home)


def _look(place: Place, seconds: float, environment: Mapping[str, str]) -> list[Kernel]:
    script = render("kernel_probe.sh.j2", mark=_MARK)
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", script], env=dict(environment), cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [_unusable(place, f"did not answer within {seconds:g} s", "see what it does when it is loaded")]
    said = done.stderr.decode(errors="replace")
    answers = _answers(done.stdout.decode(errors="surrogateescape"))
    if ("loaded", "environment") not in answers:
        return [_unusable(place, _last(said) or "cannot be loaded", "load it by hand in a terminal to see why")]
    return [_kernel(place, language, answers, said) for language in _brought(place, answers)]


def _answers(output: str) -> dict[tuple[str, str], str]:
    """What the probe has told: VALUE by STAGE and LANGUAGE."""
    lines = [line.split(" ", 3) for line in output.splitlines() if line.startswith(f"{_MARK} ")]
    return {(words[1], words[2]): words[3].strip() for words in lines if len(words) == 4}


def _brought(place: Place, answers: Mapping[tuple[str, str], str]) -> list[Language]:
    """The languages that are the environment's own: their program is another one than before it was loaded."""
    loaded_before = f":{place.name}:" in answers.get(("loaded", "modules"), "")
    return [
        language
        for language in place.languages
        if (path := answers.get(("path", language)))
        and (place.source == "program" or loaded_before or path != answers.get(("before", language)))
    ]


def _kernel(place: Place, language: Language, answers: Mapping[tuple[str, str], str], said: str) -> Kernel:
    path = answers[("path", language)]
    kernel = Kernel(place.source, place.name, language, Path(path).name, answers.get(("version", language), ""))
    if ("package", language) in answers:
        return kernel
    if ("version", language) not in answers:
        return replace(kernel, missing=f"{path} cannot be run: {_last(said)}", remedy="run it by hand to see why")
    return replace(kernel, missing=_why_not(language, said), remedy=_install(place, language, path))


def _why_not(language: Language, said: str) -> str:
    package = _PACKAGES[language]
    absent = re.search(rf"No module named '?{package}'?\s|no package called .{package}|no IJulia", said + "\n")
    return f"{package} is not installed there" if absent or not said else f"{package} cannot be loaded: {_last(said)}"


def _install(place: Place, language: Language, path: str) -> str:
    """The command that installs what is missing."""
    if language == "r":
        return f"""install it with: {path} -e 'install.packages("IRkernel")'"""
    if language == "julia":
        return f"""install it with: {path} -e 'using Pkg; Pkg.add("IJulia")'"""
    return f"install it with: {path} -m pip install ipykernel"


def _unusable(place: Place, missing: str, remedy: str) -> Kernel:
    return Kernel(place.source, place.name, place.languages[0], missing=missing, remedy=remedy)


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "; ".join(lines[-_LINES:])

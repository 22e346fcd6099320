"""The only place that looks for the Pythons, Rs and Julias that notebooks can use: it loads each environment once."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ood_runtime.kernel_places import Place
from ood_runtime.kernelspecs import Kernel, Language
from ood_runtime.render import render

_MARK = "ood-runtime-kernel"
_PACKAGES: Mapping[Language, str] = {"python": "ipykernel", "r": "IRkernel", "julia": "IJulia"}
_LINES = 3  # of what an environment says when it fails

Answers = Mapping[tuple[str, str], str]


def look(places: Sequence[Place], seconds: float, environment: Mapping[str, str]) -> Iterator[list[Kernel]]:
    """The kernels of each of the places, in their order; as many at once as there are processors.

    ``seconds`` is what one of them may take. A place that cannot be loaded gives a kernel that says why.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(lambda place: _look(place, seconds, environment), places)


def _look(place: Place, seconds: float, environment: Mapping[str, str]) -> list[Kernel]:
    nothing = Kernel(place.source, place.name, place.environment)
    try:
        done = _probe(place, seconds, environment)
    except subprocess.TimeoutExpired:
        why = f"gave no answer within {seconds:g} s"
        return [replace(nothing, missing=why, remedy="see what loads so slowly, or set kernels.look_seconds")]
    said = done.stderr.decode(errors="replace")
    answers = _answers(done.stdout.decode(errors="surrogateescape"))
    if ("loaded", "environment") not in answers:
        why = _loading(said) or f"loading it ended with {done.returncode}"
        return [replace(nothing, missing=why, remedy="load it in a terminal: " + "; ".join(place.environment.steps))]
    brought = _brought(place, answers)
    if place.source == "environment" and not brought:
        return [replace(nothing, missing="brings no Python, R or Julia of its own", remedy="see what it loads")]
    return [_kernel(nothing, language, answers, said) for language in brought]


def _probe(place: Place, seconds: float, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """What bash says. The script is in memory, not in arguments: users may have written secrets into an environment."""
    with os.fdopen(os.memfd_create("probe"), "w+b") as script:
        text = render("kernel_probe.sh.j2", mark=_MARK, environment=place.environment)
        script.write(text.encode("utf-8", "surrogateescape"))
        script.flush()
        path = f"/proc/self/fd/{script.fileno()}"
        return subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", path], pass_fds=(script.fileno(),), env=dict(environment), cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
        )  # fmt: skip


def _answers(output: str) -> Answers:
    """What the probe has told: VALUE by STAGE and LANGUAGE."""
    lines = [line.split(" ", 3) for line in output.splitlines() if line.startswith(f"{_MARK} ")]
    return {(words[1], words[2]): words[3].strip() for words in lines if len(words) == 4}


def _brought(place: Place, answers: Answers) -> list[Language]:
    """The languages that are the environment's own: their program is another one than before it was loaded.

    A module that was loaded before changes nothing, so there all of them count.
    """
    loaded_before = f":{place.name}:" in answers.get(("loaded", "modules"), "")
    return [
        language
        for language in place.languages
        if (path := answers.get(("path", language)))
        and (place.source == "program" or loaded_before or path != answers.get(("before", language)))
    ]


def _kernel(nothing: Kernel, language: Language, answers: Answers, said: str) -> Kernel:
    path = answers[("path", language)]
    kernel = replace(nothing, language=language, program=path.rpartition("/")[2])
    if ("version", language) not in answers:
        return replace(kernel, missing=f"{path} cannot be run: {_last(said)}", remedy="run it by hand to see why")
    kernel = replace(kernel, version=answers[("version", language)])
    if ("package", language) in answers:
        return kernel
    return replace(kernel, missing=_why_not(language, said), remedy=_install(kernel, path))


def _why_not(language: Language, said: str) -> str:
    package = _PACKAGES[language]
    if re.search(rf"No module named '?{package}'?(\s|$)|there is no package called|IJulia is not installed", said):
        return f"{package} is not installed"
    return f"{package} cannot be loaded: {_last(said)}"


def _install(kernel: Kernel, path: str) -> str:
    """The command that installs what is missing, in a shell where the environment is loaded."""
    command = {
        "python": f"{path} -m pip install ipykernel",
        "r": f"""{path} -e 'install.packages("IRkernel")'""",
        "julia": f"""{path} -e 'using Pkg; Pkg.add("IJulia")'""",
    }[kernel.language or "python"]
    loads = [step for step in kernel.environment.steps if step.startswith("module ")]
    return " && ".join([*loads, command])


def _loading(said: str) -> str:
    """What could not be loaded, which comes last, and the first of the reasons that were told before."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    ours = lines[-1].removeprefix("ood-runtime: ") if lines else ""
    reasons = [line for line in lines[:-1] if not line.endswith("has detected the following error:")]
    return f"{ours}: {' '.join(reasons[:_LINES])}" if reasons else ours


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "; ".join(lines[-_LINES:])

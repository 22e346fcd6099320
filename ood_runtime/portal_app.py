"""A complete Open OnDemand app, as text. Pure: from answers to files, all made of the templates in scripts/portal/."""

import re
from dataclasses import dataclass

from ood_runtime.errors import SettingsError, collect
from ood_runtime.gateway_probes import LOGIN
from ood_runtime.render import render

SCHEDULERS = ("slurm", "pbs", "torque", "lsf", "gridengine")
_TITLES = {
    "jupyter": "Jupyter",
    "jupyter-spark": "Jupyter + Spark",
    "rstudio": "RStudio Server",
    "rstudio-spark": "RStudio + Spark",
}
APPS = tuple(_TITLES)

_FILES = (
    "README.md",
    "manifest.yml",
    "form.yml",
    "form.js",
    "submit.yml.erb",
    "view.html.erb",
    "info.html.erb",
    "completed.html.erb",
    "template/before.sh",
    "template/script.sh",
    "template/after.sh",
    "template/settings.yml.erb",
    "tests/test_app.rb",
)
_ONLY_SPARK = ("form.js",)
_EXECUTABLE = ("template/script.sh",)

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.+/=-]*"
_RIGHT = {
    "cluster": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "the name of a file in clusters.d, without .yml"),
    "module": (_NAME, "a module's name, such as spark/4.0"),
    "program": (r"[^\x00-\x1f\x7f]+", "a program's name or its path"),
    "command": (r"[^\x00-\x1f\x7f]*", "a program's name or its path"),
    "parallel environment": (r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "the name of a parallel environment (qconf -spl)"),
    "portal": (r"(https?://[A-Za-z0-9.\-\[\]:]+)?", "https://HOST or https://HOST:PORT, as browsers know it"),
    "title": (r"[^\x00-\x1f\x7f]+", "one line of text"),
}


@dataclass(frozen=True)
class Answers:
    """What ``init`` asks about a site. ``command`` is the jupyter-lab or rserver; empty where ``start`` finds it."""

    app: str
    cluster: str
    scheduler: str = "slurm"
    modules: tuple[str, ...] = ()
    program: str = "ood-runtime"
    command: str = ""
    portal: str = ""
    parallel_environment: str = "mpi"
    title: str = ""


@dataclass(frozen=True)
class AppFile:
    """One file of an app, by its path in the app's directory."""

    name: str
    content: str
    executable: bool


def files(answers: Answers) -> tuple[AppFile, ...]:
    """The files of the app that ``answers`` describe.

    Raises SettingsError that tells every answer that is wrong.
    """
    check(answers)
    jupyter = answers.app.startswith("jupyter")
    values = {
        "app": answers.app,
        "title": answers.title or _TITLES[answers.app],
        "product": "Jupyter" if jupyter else "RStudio",
        "tool": "jupyter" if jupyter else "rstudio",
        "jupyter": jupyter,
        "spark": answers.app.endswith("-spark"),
        "cluster": answers.cluster,
        "scheduler": answers.scheduler,
        "modules": answers.modules,
        "program": answers.program,
        "command": answers.command,
        "origin": answers.portal,
        "parallel_environment": answers.parallel_environment,
        "rnode_uri": "/rnode",
        "gateway_login": LOGIN.removeprefix("/"),
    }
    wanted = (name for name in _FILES if values["spark"] or name not in _ONLY_SPARK)
    return tuple(AppFile(name, render(f"portal/{name}.j2", **values), name in _EXECUTABLE) for name in wanted)


def check(answers: Answers) -> None:
    """Raise SettingsError that tells everything that is wrong with ``answers``."""
    given = [
        ("cluster", answers.cluster),
        ("program", answers.program),
        ("command", answers.command),
        ("parallel environment", answers.parallel_environment),
        ("portal", answers.portal),
        ("title", answers.title or "-"),
        *(("module", name) for name in answers.modules),
    ]
    wrong = [
        SettingsError(f"{what}: {value!r} should be {_RIGHT[what][1]}")
        for what, value in given
        if not re.fullmatch(_RIGHT[what][0], value)
    ]
    if answers.app not in APPS:
        wrong.append(SettingsError(f"there is no app {answers.app!r} to write; there are {', '.join(APPS)}"))
    if answers.scheduler not in SCHEDULERS:
        wrong.append(SettingsError(f"scheduler: {answers.scheduler!r} should be one of {', '.join(SCHEDULERS)}"))
    if wrong:
        raise collect(wrong)

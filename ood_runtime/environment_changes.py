"""What an environment has changed, in words: for ``plan`` and ``doctor``. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ood_runtime import shell_variables
from ood_runtime.masking import SECRET_NAME
from ood_runtime.plan import Plan
from ood_runtime.secret import MASK

# By which Lmod and Environment Modules remember what is loaded.
_MEMORY = re.compile(r"_ModuleTable\w*|__LMOD_\w+|__MODULES_\w+|_LMFILES_")


@dataclass(frozen=True)
class Changes:
    """The variables that were set or changed, secret ones masked, those that are gone, and functions of bash.

    What only the module system itself reads is not among them.
    """

    set: Mapping[str, str]
    unset: tuple[str, ...]
    functions: tuple[str, ...]


def names(job: Mapping[str, str], loaded: Mapping[str, str]) -> frozenset[str]:
    """The variables that were set or changed."""
    return frozenset(name for name, value in loaded.items() if job.get(name) != value)


def changes(job: Mapping[str, str], loaded: Mapping[str, str]) -> Changes:
    """The difference between the variables of a ``job`` and those after its environment is ``loaded``."""
    new = {name: text for name, text in sorted(loaded.items()) if job.get(name) != text and not _MEMORY.fullmatch(name)}
    functions = shell_variables.functions(new)
    return Changes(
        set={name: MASK if SECRET_NAME.search(name) else value for name, value in new.items() if name not in functions},
        unset=tuple(sorted(set(job) - set(loaded))),
        functions=tuple(name.removeprefix("BASH_FUNC_").rstrip("%()") for name in functions),
    )


def reaches(plan: Plan) -> tuple[str, ...]:
    """Which parts of a session have the environment, and how it gets there."""
    inherit = [f"{service.name}: inherited" for service in plan.services if not service.remote]
    files = [file.name for file in plan.files if file.name.endswith("/environment.sh")]
    more = {
        "rstudio/environment.sh": "R sessions of RStudio, whose rserver takes it away: {}",
        "spark/environment.sh": "Spark workers and executors on other nodes: {}",
    }
    if any(service.name == "jupyter" for service in plan.services):
        inherit.append("kernels and terminals of Jupyter: inherited")
    return (*inherit, *(more[name].format(name) for name in files if name in more))

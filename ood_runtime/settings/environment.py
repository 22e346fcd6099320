"""The settings of the software environment: what all parts of a session load, as data.

The bash that loads it is made of these values by one macro, in ``scripts/environment.sh.j2``, and nowhere else.
"""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, field_validator

from ood_runtime.settings.section import AbsolutePath, Section


def _name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("should be a name, in one line")
    if value.startswith("-"):
        raise ValueError("should not begin with -, which makes it an option")
    return value


def _name_or_path(value: str) -> str:
    return str(Path(value).expanduser()) if _name(value).startswith("~") else value


def _bind(value: str) -> str:
    if not _name(value).startswith(("/", "$", "~")):
        raise ValueError("should be SOURCE, SOURCE:PLACE or SOURCE:PLACE:ro, where SOURCE is an absolute path")
    return value


Name = Annotated[str, AfterValidator(_name)]
NameOrPath = Annotated[str, AfterValidator(_name_or_path)]
Bind = Annotated[str, AfterValidator(_bind)]


class Environment(Section):
    """The software that all parts of a session use: Jupyter and its kernels, RStudio, Spark on every node.

    It is loaded once, in the order of these keys, on top of what the job script has loaded; every part gets the result.
    """

    purge: bool = False
    """Unload all modules of the job first. Not where the scheduler's own commands come from a module."""
    collection: Name | None = None
    """A module collection (`module save`) to restore; it replaces the modules of the job."""
    modules: list[Name] = []
    """Modules to load, of Lmod or Environment Modules, in this order: python/3.12, spark/4.0."""
    more_modules: list[Name] = []
    """Modules to load after those: what a portal's form, or a user, adds to the site's own list."""
    conda: NameOrPath | None = None
    """A conda environment to activate, by its name or its directory: of the conda, mamba or micromamba that is there
    when the modules are loaded."""
    venv: AbsolutePath | None = None
    """The directory of a Python virtual environment to use."""
    shell: str | None = None
    """Lines of bash for the rest, run last. The session does not start when they exit, or the last command fails."""
    container: AbsolutePath | None = None
    """An Apptainer (Singularity) image, in which all parts run."""
    gpus: Literal["auto", "nvidia", "rocm", "none"] = "auto"
    """Whose graphics processors the container sees (`--nv`, `--rocm`). With auto those of the job, when it has some."""
    binds: list[Bind] = []
    """What the container sees of the node beside your home directory and the session's: /apps, or /data:/mnt:ro."""

    @field_validator("shell")
    @classmethod
    def _is_text(cls, value: str | None) -> str | None:
        if value and "\0" in value:
            raise ValueError("should be text")
        return value

    @property
    def uses_modules(self) -> bool:
        """Whether the command ``module`` is needed."""
        return bool(self.purge or self.collection or self.all_modules)

    @property
    def all_modules(self) -> list[str]:
        """The names of all modules to load, in order."""
        return [*self.modules, *self.more_modules]

    @property
    def loads(self) -> bool:
        """Whether there is anything to load on the node; the container is not loaded, but entered."""
        return bool(self.uses_modules or self.conda or self.venv or self.shell)

    @property
    def single(self) -> "tuple[Environment, ...]":
        """Each step as an environment of its own, in order."""
        return (
            *((Environment(purge=True),) if self.purge else ()),
            *((Environment(collection=self.collection),) if self.collection else ()),
            *(Environment(modules=[name]) for name in self.modules),
            *(Environment(more_modules=[name]) for name in self.more_modules),
            *((Environment(conda=self.conda),) if self.conda else ()),
            *((Environment(venv=self.venv),) if self.venv else ()),
            *((Environment(shell=self.shell),) if self.shell else ()),
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to load it, in order, for people to read."""
        return (
            *(("module purge",) if self.purge else ()),
            *((f"module restore {shlex.quote(self.collection)}",) if self.collection else ()),
            *((f"module load {shlex.join(self.all_modules)}",) if self.all_modules else ()),
            *((f"conda activate {shlex.quote(self.conda)}",) if self.conda else ()),
            *((f"virtual environment {self.venv}",) if self.venv else ()),
            *(("the lines of environment.shell",) if self.shell else ()),
        )

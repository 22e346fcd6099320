"""The settings of notebooks' kernels beside those that Jupyter has by itself."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ood_runtime.settings.environment import Environment, Name
from ood_runtime.settings.section import Section


def _line(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError("should be a pattern in one line, such as python/*")
    return value


def _path(value: str) -> str:
    if not value.startswith(("/", "~", "$")):
        raise ValueError("should be an absolute path; ~, $VARIABLES and patterns such as /opt/venvs/* are allowed")
    return _line(value)


def _loaded(value: Environment) -> Environment:
    if value.container or value.binds:
        raise ValueError("a kernel runs where Jupyter does: container and binds are for the whole session")
    return value


Pattern = Annotated[str, AfterValidator(_line)]
PathPattern = Annotated[str, AfterValidator(_path)]
Loaded = Annotated[Environment, AfterValidator(_loaded)]


class Mpi(Section):
    """The kernel Python (MPI)."""

    enabled: bool = False
    """Offer it: cells that begin with %%px run in all ranks of a program of MPI, on all nodes of the job. Its Python
    needs ipykernel, ipyparallel and mpi4py."""
    ranks: int | None = Field(None, ge=1)
    """How many ranks. Not set: as many as the job has tasks, where Slurm tells; else one on each node."""
    python: str | None = None
    """Its Python and that of the ranks: a name on PATH, when its environment is loaded, or a path. Not set: the python3
    of its environment, or else that of the kernel Python 3."""
    environment: Loaded = Environment()
    """What is loaded for it, with the keys of `environment`: an MPI, and a Python with mpi4py for it."""
    launch: list[Pattern] = []
    """What starts the ranks; -n, their number and the command are added. Not set: under Slurm
    `srun --overlap --export=ALL --mpi=pmix`, else `mpiexec`."""


class Kernels(Section):
    """Kernels for the Pythons, Rs and Julias that are there, beside those that Jupyter has by itself."""

    modules: list[Pattern] = []
    """Modules that have a kernel, as patterns such as python/* or R/4.*. Each module that matches is loaded once, to
    see whether it brings Python with ipykernel, R with IRkernel or Julia with IJulia."""
    conda: list[Pattern] = []
    """conda environments that have a kernel: patterns of their names, such as *, or of their paths."""
    venvs: list[PathPattern] = []
    """Virtual environments of Python that have a kernel: patterns of their paths, such as ~/venvs/*."""
    environments: dict[Name, Loaded] = {}
    """More environments that have a kernel, each with a name for people, and what it loads, with the keys of
    `environment`: for a Python that needs several modules, or lines of bash."""
    programs: list[Literal["python", "r", "julia"]] = []
    """Languages whose program on the job's PATH has a kernel, with nothing loaded."""
    mpi: Mpi = Mpi()
    look_seconds: float = Field(60, gt=0, le=600)
    """How long one environment may take to tell what is in it, and with `kernels check` also to start."""

    @property
    def wanted(self) -> bool:
        """Whether any kernel is asked for."""
        return bool(self.modules or self.conda or self.venvs or self.environments or self.programs)

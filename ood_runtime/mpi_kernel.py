"""The kernel Python (MPI): ipyparallel's engines as the ranks of one program of MPI, on all nodes of the job. Pure."""

from collections.abc import Mapping

from ood_runtime.context import Context
from ood_runtime.errors import OodRuntimeError
from ood_runtime.plan import File, Part
from ood_runtime.render import render
from ood_runtime.session_kernels import static

_NAME = "python-mpi"
_SCRIPT, _PROGRAM = "mpi/mpi_kernel.sh", "mpi/mpi_kernel.py"
# As docs/mpi.md says: it shares the job with other steps, and goes on to where PATH is.
_SRUN = ("srun", "--overlap", "--export=ALL", "--mpi=pmix", "--disable-status")


def kernel(context: Context) -> Part:
    """Its kernelspec, its script and its program, where the settings ask for it."""
    settings = context.settings.kernels.mpi
    if not settings.enabled:
        return Part()
    private = context.directories.private
    ranks = settings.ranks or _tasks(context)
    program = render(
        "mpi_kernel.py.j2",
        launch=[*(settings.launch or _launch(context)), "-n", str(ranks)],
        ranks=ranks,
        address=context.place.cluster if len(context.allocation.nodes) > 1 else "127.0.0.1",
        work=str(private / "mpi"),
        log=str(context.directories.logs / "mpi-ranks.log"),
        seconds=context.settings.timeouts.ready,
    )
    script = render(
        "mpi_kernel.sh.j2",
        environment=settings.environment,
        python=settings.python or _python(context),
        program=str(private / _PROGRAM),
    )
    return Part(files=(*static(_NAME), File(_SCRIPT, script, executable=True), File(_PROGRAM, program)))


def environment(context: Context) -> dict[str, str]:
    """The variable by which the kernelspec finds the script."""
    enabled = context.settings.kernels.mpi.enabled
    return {"OOD_RUNTIME_MPI_KERNEL": str(context.directories.private / _SCRIPT)} if enabled else {}


def _python(context: Context) -> str:
    """The one that its environment brings, else that of the kernel Python 3."""
    loads = context.settings.kernels.mpi.environment
    if loads.uses_modules or loads.conda or loads.venv:
        return "python3"
    jupyter = context.software.jupyter
    python = (jupyter.kernel_python or jupyter.python) if jupyter else None
    if python is None:
        raise OodRuntimeError(
            "Python (MPI): nobody knows which Python this Jupyter runs with", remedy="set kernels.mpi.python"
        )
    return str(python)


def _tasks(context: Context) -> int:
    return _number(context.environment, "SLURM_NTASKS") or len(context.allocation.nodes)


def _launch(context: Context) -> tuple[str, ...]:
    return _SRUN if context.allocation.launcher == "slurm" else ("mpiexec",)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else 0

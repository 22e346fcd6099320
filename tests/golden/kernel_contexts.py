"""Contexts of sessions that have found kernels, some with odd names."""

from dataclasses import replace
from pathlib import Path

from ood_runtime.context import Context
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings import Settings
from ood_runtime.settings.environment import Environment

KERNELS = (
    Kernel("module", "python/3.11.4", Environment(modules=["python/3.11.4"]), "python", "python3", "3.11.4"),
    Kernel("module", "R/4.3", Environment(modules=["R/4.3"]), "r", "R", "4.3.1"),
    Kernel("conda", "/opt/conda/envs/Ada's \u00fc env", Environment(conda="/opt/conda/envs/Ada's \u00fc env"), "julia",
           "julia", "1.10.4"),
    Kernel("venv", "/home/ada/$x `y`", Environment(venv=Path("/home/ada/$x `y`")), "python", "python3", "3.9.2"),
)  # fmt: skip


def found(context: Context) -> Context:
    """``context``, in which kernels are asked for and were found before."""
    mpi = {"enabled": True, "environment": {"modules": ["openmpi/4.1", "it's mpi4py/4"]}}
    kernels = {"modules": ["python/*", "R/*"], "conda": ["*"], "venvs": ["~/*"], "mpi": mpi}
    return replace(
        context,
        settings=Settings.model_validate({"kernels": kernels}),
        software=replace(context.software, kernels=KERNELS),
    )

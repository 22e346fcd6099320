"""The kernels of a session beside PySpark: those that were found before, and what looks again beside it. Pure."""

import json
import sys

from ood_runtime import kernelspecs
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.service import Service

FOLDER = "jupyter/kernels"
_SETTINGS = "jupyter/kernels.json"


def found(context: Context) -> Part:
    """The kernels that the settings ask for. Looking for them takes seconds, for which no session waits: it gets
    those that were found last time, and a program in the background brings them up to date."""
    settings = context.settings.kernels
    if not settings.wanted:
        return Part()
    if context.settings.environment.container:
        return Part(notices=("kernels.* has no effect in a container: its Jupyter has the kernels of the image",))
    private = context.directories.private
    folder = {"folder": str(private / FOLDER), "settings": settings.model_dump(mode="json")}
    looker = Service(
        name="kernels",
        argv=(sys.executable, "-m", "ood_runtime.kernel_refresh", str(private / _SETTINGS)),
        directory=context.directories.scratch,
        ready_seconds=60,
        essential=False,
        background=True,
        ours=True,
    )
    files = [file for kernel in context.software.kernels for file in _files(kernel)]
    return Part(files=(*files, File(_SETTINGS, json.dumps(folder, indent=2))), services=(looker,))


def static(name: str) -> list[File]:
    """The files of a kernelspec that comes with the package."""
    return [File(f"{FOLDER}/{name}/{file}", content) for file, content in kernelspecs.packaged(name).items()]


def _files(kernel: kernelspecs.Kernel) -> list[File]:
    return [
        File(f"{FOLDER}/{kernel.directory}/{name}", content, executable=name.endswith(".sh"))
        for name, content in kernelspecs.files(kernel).items()
    ]

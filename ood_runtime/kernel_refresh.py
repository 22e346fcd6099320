"""Looks for the kernels of a session that is ready, and brings its folder of kernelspecs up to date.

``python -m ood_runtime.kernel_refresh FILE`` is one of the session's services; its log says what it has found.
"""

import json
import os
import sys
from pathlib import Path

from ood_runtime import kernel_cache, kernel_finder, kernel_folders, kernel_places
from ood_runtime.errors import OodRuntimeError
from ood_runtime.kernel_folders import Folder
from ood_runtime.settings.kernels import Kernels

_NICE = 10  # notebooks go first


def main(file: Path) -> int:
    """Look for kernels, as the FILE says that the session has written."""
    os.nice(_NICE)
    told = json.loads(file.read_bytes())
    try:
        refresh(Folder(Path(told["folder"])), Kernels.model_validate(told["settings"]))
    except OodRuntimeError as error:
        _say("\n".join(filter(None, [error.what, error.remedy])))
        return error.exit_status
    return 0


def refresh(folder: Folder, settings: Kernels) -> None:
    """Write what is found to ``folder``, take away what is not there any more, and remember it for the next session."""
    places = kernel_places.find(settings, os.environ)
    kernels = [kernel for some in kernel_finder.look(places, settings.look_seconds, os.environ) for kernel in some]
    usable = [kernel for kernel in kernels if not kernel.missing]
    entries = kernel_folders.write(folder, usable)
    kernel_folders.remove(folder, [entry.name for entry in entries if entry.state == "gone"])
    kernel_cache.keep(usable, settings, os.environ)
    for entry in entries:
        _say(f"{entry.title} ({entry.name}): {entry.state}")
    for kernel in kernels:
        if kernel.missing:
            _say(f"{kernel.title}: {kernel.missing}; {kernel.remedy}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

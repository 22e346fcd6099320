"""The only place for the Pythons and Julias that tests put into modules, conda and virtual environments.

Each is as small as can be, around the Python that runs the tests, which has ipykernel.
"""

import shlex
import site
import sys
from pathlib import Path

# Speaks the command line of Julia as our scripts use it, and is a Python kernel then. It lacks the language: code that
# asks for its version gets an answer, code that starts IJulia a kernel, other code an error.
_JULIA = """#!/bin/bash
for word in "$@"; do
    case $word in
        *VERSION*) echo "version 1.10.4"; {ijulia}; exit ;;
        *IJulia.run_kernel*) exec {python} -m ipykernel_launcher -f "${{@: -1}}" ;;
    esac
done
exit 1
"""


def python_at(path: Path, *, ipykernel: bool = True) -> Path:
    """A Python at ``path``: that of the tests with what is installed for it, or one without any package."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = "" if ipykernel else " -I -S"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{options} "$@"\n')
    path.chmod(0o755)
    return path


def venv(directory: Path, *, ipykernel: bool = True) -> Path:
    """A virtual environment, made in a moment: without pip, and it takes packages from ours."""
    (directory / "bin").mkdir(parents=True)
    real = Path(sys.executable).resolve()
    for name in ("python", "python3"):
        (directory / "bin" / name).symlink_to(real)
    (directory / "pyvenv.cfg").write_text(f"home = {real.parent}\ninclude-system-site-packages = false\n")
    packages = directory / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    if ipykernel:
        (packages / "ours.pth").write_text("\n".join(site.getsitepackages()))
    return directory


def julia_at(path: Path, *, ijulia: bool = True) -> Path:
    """A stand-in for Julia, with IJulia or without."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = 'echo "package IJulia"' if ijulia else 'echo "ERROR: IJulia is not installed" >&2; exit 1'
    path.write_text(_JULIA.format(ijulia=told, python=shlex.quote(sys.executable)))
    path.chmod(0o755)
    return path

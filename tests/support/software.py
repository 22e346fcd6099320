"""The only place for the software of a site that tests make: modules, a conda, virtual environments, a Julia.

Each is as small as can be, around the Python that runs the tests, which has ipykernel.
"""

import json
import shlex
import site
import sys
from pathlib import Path

from tests.support.needs import missing

# conda's own file of functions for shells, as far as we use it: it activates environments by their paths and lists
# them. It lacks everything else, hooks too.
_CONDA = """conda() {
    if [ "$*" = "env list --json" ]; then cat "${CONDA_EXE%/*/*}/list.json"; return; fi
    [ "$1" = activate ] && [ -d "$2/conda-meta" ] || { echo "EnvironmentNameNotFound: $2" >&2; return 1; }
    export CONDA_PREFIX=$2 PATH=$2/bin:$PATH
}
"""
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


def conda(root: Path) -> Path:
    """A stand-in for a conda installation; the environments go into ``root``/envs. The path of its program."""
    (root / "etc" / "profile.d").mkdir(parents=True)
    (root / "etc" / "profile.d" / "conda.sh").write_text(_CONDA)
    program = root / "bin" / "conda"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    return program


def conda_environment(root: Path, name: str) -> Path:
    """An environment of the conda at ``root``, without programs yet."""
    path = root / "envs" / name
    (path / "conda-meta").mkdir(parents=True)
    (path / "bin").mkdir()
    (root / "list.json").write_text(json.dumps({"envs": [str(root), *map(str, sorted((root / "envs").iterdir()))]}))
    return path


def module(modules: Path, name: str, *lines: str) -> None:
    """A module called ``name``, in Lua: in Tcl, Lmod 8.6 fails to read files whose names have blanks or umlauts."""
    path = modules / f"{name}.lua"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))


def module_of(modules: Path, name: str, program: Path) -> None:
    """A module called ``name`` that puts the directory of ``program`` on PATH."""
    module(modules, name, f"prepend_path('PATH', [[{program.parent}]])", f"setenv('LOADED', [[{name}]])")


def need_modules() -> str:
    """The directory of Lmod, for LMOD_PKG."""
    found = next(iter(sorted(Path("/usr/share").glob("lmod/*/init/bash"))), None) or Path(
        "/usr/share/lmod/lmod/init/bash"
    )
    if not found.exists():
        missing("needs Lmod in /usr/share/lmod")
    return str(found.parent.parent)

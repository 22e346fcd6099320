"""Stands for a conda, and a micromamba, which no package registry that tests can reach has as a program.

It keeps to what shells see of them, as conda 25 was seen to do it: the file etc/profile.d/conda.sh with the function
`conda`, `conda shell.bash hook`, `conda shell.posix activate` that prints what the function evaluates (PATH,
CONDA_PREFIX, CONDA_DEFAULT_ENV and CONDA_SHLVL, then the files of etc/conda/activate.d there; between single quotes,
as they are), `env list --json`, and micromamba's `shell hook` and `shell activate`. It lacks everything else:
packages, solvers, stacking, deactivation, configuration; and the Python of an environment is a link to another one.
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

_FUNCTION = """
{name}() {{
    case $1 in
        activate)
            shift
            local asked
            asked=$("${variable}" {activate} "$@") || return
            eval "$asked"
            hash -r
            ;;
        *) "${variable}" "$@" ;;
    esac
}}
"""
_PROGRAM = """#!/bin/bash
# shell.posix activate NAME, shell activate --shell bash NAME, shell.bash hook, shell hook --shell bash, env list --json
root={root}
activate() {{
    case $1 in base) prefix=$root ;; */*) prefix=$1 ;; *) prefix=$root/envs/$1 ;; esac
    if [ ! -d "$prefix/conda-meta" ]; then
        echo "EnvironmentNameNotFound: Could not find conda environment: $1" >&2
        exit 1
    fi
    printf "PS1='%s'\\n" "($1) "
    printf "export PATH='%s'\\n" "$prefix/bin:$PATH"
    printf "export CONDA_PREFIX='%s' CONDA_DEFAULT_ENV='%s' CONDA_SHLVL='1'\\n" "$prefix" "$1"
    for file in "$prefix"/etc/conda/activate.d/*.sh; do
        [ ! -e "$file" ] || printf '. "%s"\\n' "$file"
    done
}}
case "$1 $2" in
    'shell.posix activate') activate "$3" ;;
    'shell activate') activate "$5" ;;
    'shell.bash hook' | 'shell hook') cat "$root/hook.sh" ;;
    'env list')
        printf '{{"envs": ["%s"' "$root"
        for prefix in "$root"/envs/*/; do printf ', "%s"' "${{prefix%/}}"; done
        echo ']}}'
        ;;
    *) echo "this stand-in does not know: $*" >&2 && exit 2 ;;
esac
"""


@dataclass(frozen=True)
class Conda:
    """One installation, and its ``program``."""

    root: Path
    program: Path

    def environment(self, name: str, **variables: str) -> Path:
        """Make the environment ``name``, which sets ``variables`` when it is activated; its directory."""
        prefix = Path(name) if name.startswith("/") else self.root / "envs" / name
        for directory in ("bin", "conda-meta", "etc/conda/activate.d"):
            (prefix / directory).mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
        lines = [f"export {key}={shlex.quote(value)}\n" for key, value in variables.items()]
        (prefix / "etc/conda/activate.d/variables.sh").write_text("".join(lines))
        return prefix


def install(root: Path, *, micromamba: bool = False, with_file: bool = True) -> Conda:
    """An installation at ``root``; ``with_file`` has conda's own file for shells in it, as all releases since 4.4."""
    name, variable = ("micromamba", "MAMBA_EXE") if micromamba else ("conda", "CONDA_EXE")
    activate = "shell activate --shell bash" if micromamba else "shell.posix activate"
    program = root / "bin" / name
    for directory in (program.parent, root / "conda-meta", root / "envs", root / "etc/profile.d"):
        directory.mkdir(parents=True)
    program.write_text(_PROGRAM.format(root=shlex.quote(str(root))))
    program.chmod(0o755)
    hook = f"export {variable}={shlex.quote(str(program))}"
    hook += _FUNCTION.format(name=name, variable=variable, activate=activate)
    (root / "hook.sh").write_text(hook)
    if with_file and not micromamba:
        (root / "etc/profile.d/conda.sh").write_text(hook)
    return Conda(root, program)

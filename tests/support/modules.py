"""Real Lmod and real Environment Modules, with trees of modules that tests make for themselves."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.needs import missing

Kind = Literal["lmod", "environment-modules"]
KINDS: tuple[Kind, ...] = ("lmod", "environment-modules")
# What is hard to quote somewhere: in shells, in lists, in YAML.
ODD_NAMES = ("blanks in/the name", "it's/1.0", 'a "quoted"/one', "$HOME/`id`;x", "päckchen/ü")


@dataclass(frozen=True)
class Modules:
    """A module system and a tree of modules of its own."""

    kind: Kind
    home: Path
    tree: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a job that knows this module system has: no function, which only shells have."""
        return {"MODULESHOME": str(self.home), "MODULEPATH": str(self.tree)}

    def write(self, name: str, *paths: Path, **variables: str) -> None:
        """A module that puts ``paths`` in front of PATH and sets ``variables``."""
        if self.kind == "lmod":
            lines = [f"prepend_path('PATH', {_lua(str(path))})" for path in paths]
            lines += [f"setenv('{key}', {_lua(value)})" for key, value in variables.items()]
            self.write_text(f"{name}.lua", "\n".join(lines))
        else:
            lines = [f"prepend-path PATH {_tcl(str(path))}" for path in paths]
            lines += [f"setenv {key} {_tcl(value)}" for key, value in variables.items()]
            self.write_text(name, "\n".join(["#%Module", *lines]))

    def write_text(self, name: str, text: str) -> None:
        """A module file as it stands."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def need_modules(kind: Kind, tree: Path) -> Modules:
    """The module system of this ``kind`` with a new ``tree``. Skips or fails where it is not here."""
    if kind == "lmod":
        home = Path("/usr/share/lmod/lmod")
    else:
        home = Path(os.environ.get("OOD_TEST_ENVIRONMENT_MODULES", "/nonexistent"))
    if not (home / "init" / "bash").is_file():
        missing(f"needs {kind}, which ./check installs")
    tree.mkdir(parents=True, exist_ok=True)
    return Modules(kind, home, tree)


def _lua(text: str) -> str:
    return "[==[" + text + "]==]"


def _tcl(text: str) -> str:
    return "".join(f"\\{char}" if char in '\\"$[]{} ;' else char for char in text)

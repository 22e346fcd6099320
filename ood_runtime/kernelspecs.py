"""What Jupyter needs to start a kernel: a kernelspec, with the script that loads its environment. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from ood_runtime.render import render
from ood_runtime.settings.environment import Environment

Language = Literal["python", "r", "julia"]
Source = Literal["module", "conda", "venv", "environment", "program"]

# The entry in a kernelspec's metadata that says that it is ours.
MARK = "ood_runtime"
_LONGEST_NAME = 80  # of a directory's 255 bytes; what comes after is a digest
_PLAIN = r"[a-z0-9.\-/]{1,80}"  # a slash becomes an underscore, and nothing else changes
_TITLES: Mapping[Language, str] = {"python": "Python", "r": "R", "julia": "Julia"}


@dataclass(frozen=True)
class Kernel:
    """A kernel of one software environment.

    ``name`` is what its ``source`` calls the environment: a module's name, a path, a name in the settings, or that of
    the language. ``program`` is what is started when ``environment`` is loaded. ``missing`` says why it cannot be used,
    and ``remedy`` what to do; the language may not be known then.
    """

    source: Source
    name: str
    environment: Environment = field(default_factory=Environment)
    language: Language | None = None
    program: str = ""
    version: str = ""
    missing: str = ""
    remedy: str = ""

    @property
    def directory(self) -> str:
        """The name of its kernelspec, which notebooks remember: the same for the same environment, and no other's.

        Jupyter takes letters, digits, dots, hyphens and underscores. What they cannot say goes into a digest.
        """
        told = self._short.replace("/", "_")
        words = [str(self.language), *((self.source, told) if self.source != "program" else ())]
        slug = re.sub(r"[^a-z0-9.\-_]+", "-", "-".join(words).lower())
        if self.source in ("module", "program") and re.fullmatch(_PLAIN, self.name):
            return slug
        return f"{slug[:_LONGEST_NAME].rstrip('.-_')}-{self._digest()}"

    @property
    def title(self) -> str:
        """What people see: the language with its version, and where it is from."""
        title = " ".join(filter(None, (_TITLES[self.language] if self.language else "", self.version)))
        if self.source == "program":
            return title
        kind = "" if self.source == "environment" else f"{self.source} "
        return f"{title} ({kind}{_printable(self._short)})".strip()

    @property
    def _short(self) -> str:
        return Path(self.name).name if self.source in ("conda", "venv") else self.name

    def _digest(self) -> str:
        identity = "\0".join((self.source, self.name, str(self.language)))
        return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def files(kernel: Kernel) -> dict[str, bytes]:
    """The files of the kernelspec of ``kernel``, by their names; kernel.sh is the script that its argv names."""
    static = packaged(str(kernel.language))
    spec = json.loads(static["kernel.json"])
    spec["display_name"] = kernel.title
    spec["metadata"] = {
        **spec.get("metadata", {}),
        MARK: {"source": kernel.source, "name": kernel.name.encode("utf-8", "replace").decode()},
    }
    script = render(
        "kernel.sh.j2",
        title=kernel.title,
        language=kernel.language,
        program=kernel.program,
        environment=kernel.environment,
        log=f"kernel-{kernel.directory}.log",
    )
    return {
        **static,
        "kernel.json": (json.dumps(spec, indent=2, sort_keys=True) + "\n").encode(),
        "kernel.sh": script.encode("utf-8", "surrogateescape"),
    }


def packaged(name: str) -> dict[str, bytes]:
    """The files of the kernelspec called ``name`` that comes with the package."""
    return {
        entry.name: entry.read_bytes() for entry in sorted(_static().joinpath(name).iterdir(), key=lambda e: e.name)
    }


def is_ours(spec: Any) -> bool:
    """Whether what a kernel.json holds was written by us."""
    return isinstance(spec, dict) and isinstance(spec.get("metadata"), dict) and MARK in spec["metadata"]


def _static() -> Traversable:
    inside = resources.files("ood_runtime").joinpath("kernelspecs")
    return inside if inside.is_dir() else Path(__file__).parents[1] / "kernelspecs"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)

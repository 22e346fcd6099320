"""The types of fixtures that are functions."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

REPOSITORY = Path(__file__).parents[2]


class InChild(Protocol):
    """Call a function in a forked child of this process and give what it returns or raises."""

    def __call__(self, function: Callable[[], Any]) -> Any: ...


class Spawn(Protocol):
    """Call a function in a forked child and go on; its pid. What it prints goes to ``output``."""

    def __call__(self, function: Callable[[], int], output: Path) -> int: ...


class RunCli(Protocol):
    """Run ``ood-runtime`` with these arguments to its end, in a clean environment with ``env`` added."""

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]: ...


class WaitUntil(Protocol):
    """Wait until a function gives something true, and give it; fails after so many seconds."""

    def __call__(self, look: Callable[[], Any], seconds: float = 10.0) -> Any: ...

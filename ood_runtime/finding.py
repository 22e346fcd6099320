"""What ``doctor`` has found of one thing, as a value."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ood_runtime.settings import Settings

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """``state`` is good, warning (a session runs, but not at its best) or bad."""

    what: str
    state: str
    detail: str
    remedy: str = ""


# Looks at one thing, with these settings in this environment; may raise OodRuntimeError.
Check = Callable[[Settings, Mapping[str, str]], Iterator[Finding]]

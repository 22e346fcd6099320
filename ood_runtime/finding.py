"""What ``doctor`` has found of one thing, as a value."""

from dataclasses import dataclass

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    """``state`` is good, warning (a session runs, but not at its best) or bad."""

    what: str
    state: str
    detail: str
    remedy: str = ""

"""What a session runs: a service, and when it is ready. Values only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """What a readiness probe found.

    ``detail`` is for people. ``port_lost`` says that somebody else listens where the service should.
    ``workers`` are those that are there and those that there will be, where the probe counts them.
    """

    ready: bool
    detail: str = ""
    port_lost: bool = False
    workers: tuple[int, int] | None = None


class Probe(Protocol):
    """Answers whether a service can be used."""

    def __call__(self, pids: Collection[int]) -> Answer:
        """Look once. ``pids`` are the process of the service and all its descendants."""
        ...


@dataclass(frozen=True)
class Service:
    """One program of a session.

    ``environment`` is added to the job's own; a value of None removes a variable. ``after`` names the
    services that must be ready before this one starts; ``ports`` are the numbers that it listens on.
    An ``essential`` service's end is the session's end. Others are started again ``restarts`` times.
    A ``background`` service starts when the session is ready, and its end never matters.
    ``ready_seconds`` is the time that it has to become ready; it is looked at every ``probe_seconds``, or oftener.
    With a ``gate`` it starts at once, and itself waits, at what it makes there with mkfifo(1), for those in ``after``.
    """

    name: str
    argv: tuple[str, ...]
    ready: Probe
    ready_seconds: float
    environment: Mapping[str, str | None] = field(default_factory=dict)
    directory: Path = Path("/")
    after: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    essential: bool = True
    restarts: int = 0
    background: bool = False
    gate: Path | None = None
    probe_seconds: float = 0.0

    def complete(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The job's ``environment`` with what this service adds and removes."""
        merged = {**environment, **self.environment}
        return {name: value for name, value in merged.items() if value is not None}

    @property
    def log(self) -> str:
        """The name of its log in the session's directory."""
        return f"logs/{self.name}.log"

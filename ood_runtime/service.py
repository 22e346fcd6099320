"""What a session runs and proves: services and checks, and when they are ready. Values only."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Protocol


@dataclass(frozen=True)
class Answer:
    """What a readiness probe found.

    ``detail`` is for people, and ``notices`` are what they should still know later. ``port_lost`` says that somebody
    else listens where the service should; ``hopeless`` says why it can never become ready.
    ``workers`` are those that are there and those that there will be, where the probe counts them; ``each`` has one
    entry for every one that is known, and ``applications`` one for every one that they work for.
    """

    ready: bool
    detail: str = ""
    port_lost: bool = False
    hopeless: str = ""
    workers: tuple[int, int] | None = None
    each: tuple[Mapping[str, Any], ...] = ()
    applications: tuple[Mapping[str, Any], ...] = ()
    notices: tuple[str, ...] = ()


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
    What has no probe is ready as soon as it runs: a check proves it.
    An ``essential`` service's end is the session's end. Others are started again ``restarts`` times.
    A ``remote`` one runs programs on other nodes. Its end never ends the session: a check judges what is left. It is
    asked to end, and given time to clear up there, also when the supervisor was killed.
    A ``background`` service starts when the session is ready. Its end never matters; it may have ``restarts``.
    What ``tells_end`` is such a one, and prints when the job ends, in seconds since 1970.
    ``ready_seconds`` is the time that it has to become ready; it is looked at every ``probe_seconds``, or oftener.
    ``head_start`` is what the others get before it, in seconds: where processors are few, the longest chain goes first.
    ``stop_signal`` asks it to end. At the same time programs that it has started, and that are called as ``parting``
    says, get the signal there: they write down what they have in memory, and are waited for.
    It is ``alone_at`` addresses and ports that it does not use itself, and nobody else shall: it inherits sockets that
    are bound there, as far as they can be.
    With a ``gate`` it starts at once, and itself waits, at what it makes there with mkfifo(1), for those in ``after``.
    ``ready_file`` is for who waits on other nodes: it has a line when the service is ready, and none before.
    ``own_tmp`` is what it sees as /tmp where it runs in a container. What is ``ours`` runs on the node there, too.
    """

    name: str
    argv: tuple[str, ...]
    ready_seconds: float
    ready: Probe | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    directory: Path = Path("/")
    after: tuple[str, ...] = ()
    head_start: float = 0.0
    ports: tuple[int, ...] = ()
    alone_at: tuple[tuple[str, int], ...] = ()
    essential: bool = True
    remote: bool = False
    restarts: int = 0
    background: bool = False
    tells_end: bool = False
    gate: Path | None = None
    ready_file: Path | None = None
    probe_seconds: float = 0.0
    stop_signal: Signals = Signals.SIGTERM
    parting: Mapping[str, Signals] = field(default_factory=dict)
    own_tmp: Path | None = None
    ours: bool = False

    def complete(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The job's ``environment`` with what this service adds and removes."""
        merged = {**environment, **self.environment}
        return {name: value for name, value in merged.items() if value is not None}

    @property
    def log(self) -> str:
        """The name of its log in the session's directory."""
        return f"logs/{self.name}.log"


class Proof(Protocol):
    """Answers whether several services together do what they are for."""

    def __call__(self, given_up: Collection[str]) -> Answer:
        """Look once. ``given_up`` are the services that have ended and are not started again."""
        ...


@dataclass(frozen=True)
class Check:
    """What is proven of several services together, and looked after as long as the session lives.

    It is looked at, every ``probe_seconds``, when the services in ``after`` are ready, and has ``ready_seconds`` from
    then on. Once the session is ready it is looked at every ``again_seconds``, and when something has ended: what is
    lost then is told. ``log``, in the session's directory, is where to look for a reason.
    What is not ``essential`` is first looked at when the session is ready, which does not wait for it; not met in its
    time, it is told.
    """

    name: str
    ready: Proof
    ready_seconds: float
    log: str
    after: tuple[str, ...] = ()
    probe_seconds: float = 0.0
    again_seconds: float = 3.0  # what is lost is to be on the portal's card within 5
    essential: bool = True

"""What the scheduler has given to this job: values only, read once by a launcher."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Literal


@dataclass(frozen=True)
class Node:
    """One node of the allocation.

    ``cpus`` are the processors, ``memory`` the bytes and ``gpus`` the graphics processors that this job may use
    there. Where the scheduler does not say it of another node (``cpus_told``, ``memory_told``), they are those of the
    first one; the worker looks on its own node.
    """

    host: str
    cpus: int
    memory: int
    gpus: int = 0
    cpus_told: bool = field(default=True, compare=False)
    memory_told: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class Allocation:
    """The nodes of this job, the first of which runs this program.

    ``directory`` is where the job's files belong, and ``ends_at`` the end of its wall time in
    seconds since 1970, if there is one; where only the scheduler's daemons know it, the command ``ask_end`` prints it,
    and is run when the session is ready. ``environment`` is for what users start from the session, so that they can use
    the scheduler's own programs there. ``keeper`` is the name of the scheduler's program that started the job script,
    and without which the job is lost. Where nobody says or limits how much of a node's memory is the job's,
    ``unlimited_memory`` is: all of it, what is free, or as large a part as of its processors.
    """

    launcher: str
    job_id: str
    nodes: tuple[Node, ...]
    directory: Path
    ends_at: float | None = None
    ask_end: tuple[str, ...] = ()
    keeper: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    unlimited_memory: Literal["all", "free", "part"] = "all"


@dataclass(frozen=True)
class Task:
    """One run of a script on another node: its ``rank``, and the place of its ``node`` in the allocation."""

    rank: int
    node: int


@dataclass(frozen=True)
class Launch:
    """One call of a scheduler's launcher that runs a script, with a task's rank as its only argument, for ``ranks``.

    ``environment`` is added to the launcher's own; a value of None removes a variable. ``stop_signal`` is what it
    passes on to the script. Nothing is promised about what the script finds on its node: neither environment, nor
    directory, nor standard output.
    """

    argv: tuple[str, ...]
    ranks: tuple[int, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    stop_signal: Signals = Signals.SIGTERM

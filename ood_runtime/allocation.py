"""What the scheduler has given to this job: values only, read once by a launcher."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """One node of the allocation.

    ``cpus`` are the processors and ``memory`` the bytes that this job may use there.
    """

    host: str
    cpus: int
    memory: int


@dataclass(frozen=True)
class Allocation:
    """The nodes of this job, the first of which runs this program.

    ``directory`` is where the job's files belong, and ``ends_at`` the end of its wall time in
    seconds since 1970, if there is one.
    """

    launcher: str
    job_id: str
    nodes: tuple[Node, ...]
    directory: Path
    ends_at: float | None = None

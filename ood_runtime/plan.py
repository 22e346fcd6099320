"""What an app wants, as data: files, services and a connection. Nothing here has an effect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ood_runtime.allocation import Allocation
from ood_runtime.secret import Secret
from ood_runtime.service import Check, Service

DRIVERS = "drivers"


@dataclass(frozen=True)
class Directories:
    """The places of one session.

    ``private`` (0700) is in the session's directory, for what is generated. ``scratch`` (0700) is on the
    node's own disk, for what is large and short-lived; ``sockets`` (0700) has a path so short that Unix
    sockets fit in it (107 bytes, unix(7)). ``local`` (0700) are on other disks of the node, for shuffle data too.
    """

    session: Path
    private: Path
    logs: Path
    scratch: Path
    sockets: Path
    local: tuple[Path, ...] = ()

    @property
    def outside(self) -> set[Path]:
        """Those that are not in the session's directory, and end with the session."""
        return {self.scratch, self.sockets, *self.local}

    @property
    def temporary(self) -> Path:
        """For programs' temporary files; on the node's own disk, and closed to others."""
        return self.scratch / "tmp"

    @property
    def drivers(self) -> Path:
        """Where drivers of Spark write how they are reached; secret, and gone when the session ends.

        Not in the scratch space: a scheduler may remove that when it kills the job, and a driver's Java that cannot
        write there any more would stay behind, without its main thread, for ever.
        """
        return self.private / DRIVERS


@dataclass(frozen=True)
class Place:
    """Where the session is reached: ``host`` as the portal knows it, ``address`` where we listen.

    ``cluster`` is the address that the job's other nodes reach; on a single node nobody else needs to.
    """

    host: str
    address: str
    cluster: str = "127.0.0.1"


@dataclass(frozen=True)
class Grant:
    """What was drawn for this session: ports and secrets, by the names that the app declares, and its identifier."""

    ports: Mapping[str, int]
    secrets: Mapping[str, Secret]
    session_id: str = ""


@dataclass(frozen=True)
class File:
    """A file in the session's private directory; ``secret`` ones are erased at the end."""

    name: str
    content: str | bytes
    executable: bool = False
    secret: bool = False


@dataclass(frozen=True)
class Part:
    """What one piece of a session adds to its plan. ``directories`` are made before anything starts."""

    files: tuple[File, ...] = ()
    directories: tuple[Path, ...] = ()
    services: tuple[Service, ...] = ()
    checks: tuple[Check, ...] = ()
    connection: Mapping[str, str | int | Secret] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan(Part):
    """Everything that ``start`` writes and runs, and what it then tells the portal; ``url`` is for people."""

    app: str = ""
    url: str = ""


def combine(app: str, url: str, *parts: Part) -> Plan:
    """The plan of an app that is made of ``parts``, which start side by side."""
    connection: dict[str, str | int | Secret] = {}
    for part in parts:
        connection |= part.connection
    return Plan(
        files=tuple(dict.fromkeys(file for part in parts for file in part.files)),  # some are for several parts
        directories=tuple(name for part in parts for name in part.directories),
        services=tuple(service for part in parts for service in part.services),
        checks=tuple(check for part in parts for check in part.checks),
        connection=connection,
        notices=tuple(notice for part in parts for notice in part.notices),
        app=app,
        url=url,
    )


@dataclass(frozen=True)
class Outline:
    """What must be known before ports can be drawn and a plan be made.

    ``environment`` are the variables of everything that is started; None stands for the job's own.
    """

    app: str
    allocation: Allocation
    place: Place
    session_directory: Path
    scratch_base: Path
    port_names: tuple[str, ...]
    port_range: tuple[int, int]
    secret_names: Mapping[str, str]
    stop_seconds: float
    notices: tuple[str, ...] = ()
    local_bases: tuple[Path, ...] = ()
    environment: Mapping[str, str] | None = None

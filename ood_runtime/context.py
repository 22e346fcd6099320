"""All that an app may know when it makes its plan. Values only; whoever reads this needs the settings' libraries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.class_data import Archives
from ood_runtime.container import Container
from ood_runtime.java import Java
from ood_runtime.jupyter_home import Jupyter
from ood_runtime.kernelspecs import Kernel
from ood_runtime.plan import Directories, Grant, Place
from ood_runtime.rstudio_home import RStudio
from ood_runtime.settings import Settings
from ood_runtime.spark_home import Spark
from ood_runtime.tls import Tls


@dataclass(frozen=True)
class SparkSoftware:
    """The Spark and the Java of a session, and what was made for the pair.

    ``python`` is the interpreter of drivers and executors. ``archives`` are None when there are none yet;
    ``archive_directory`` is where to build them, or None. ``ui_filter`` is the jar that closes the web interfaces
    of a Spark that has no filter of its own.
    """

    spark: Spark
    java: Java
    python: Path
    archives: Archives | None
    archive_directory: Path | None
    ui_filter: bytes | None
    site_conf: Mapping[str, str]
    conf_directory: Path | None


@dataclass(frozen=True)
class Software:
    """What was found on this node for an app. ``kernels`` are those that an earlier session has found."""

    jupyter: Jupyter | None = None
    spark: SparkSoftware | None = None
    rstudio: RStudio | None = None
    kernels: tuple[Kernel, ...] = ()

    def in_words(self) -> str:
        """The programs and their versions, for people."""
        words = [f"Jupyter {self.jupyter.interface} {self.jupyter.version}"] if self.jupyter else []
        words += [f"RStudio Server {self.rstudio.rserver.version}".strip()] if self.rstudio else []
        words += [f"Spark {self.spark.spark.version}", f"Java {self.spark.java.version}"] if self.spark else []
        return ", ".join(words)


def _nowhere(script: Path, tasks: Sequence[Task]) -> tuple[Launch, ...]:
    """How a script is run on the other nodes of a job that has none."""
    return ()


@dataclass(frozen=True)
class Context:
    """The settings, the job, the software, the session's places, and the ports and secrets drawn for it.

    ``environment`` are the variables of all programs: the job's, with the environment of the settings loaded, and
    ``loaded`` the names of those that this has set or changed. ``umask`` is the job's. ``launch`` tells how a script is
    run on the job's other nodes, ``temporary`` is the TMPDIR of the session's programs, and ``allow_root`` says that
    root may run the session. Where there is a ``container``, the software is in it, and so are
    its paths.
    ``tls`` is what it proves itself with, where TLS is on.
    """

    settings: Settings
    allocation: Allocation
    software: Software
    place: Place
    directories: Directories
    grant: Grant
    environment: Mapping[str, str]
    umask: int = 0o077
    loaded: frozenset[str] = frozenset()
    launch: Callable[[Path, Sequence[Task]], tuple[Launch, ...]] = _nowhere
    temporary: Path = Path("/tmp")  # noqa: S108  (only where nothing is known)
    allow_root: bool = False
    container: Container | None = None
    tls: Tls | None = None

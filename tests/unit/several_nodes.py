"""What the tests of sessions on several nodes share: a context of such a job, and a launcher that is none."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ood_runtime.allocation import Allocation, Launch, Node, Task
from ood_runtime.context import Context, Software, SparkSoftware
from ood_runtime.java import Java
from ood_runtime.plan import Directories, Grant, Part, Place
from ood_runtime.secret import Secret
from ood_runtime.service import Service
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB
from ood_runtime.spark_home import Spark

ROOT = Path("/session")
PRIVATE = ROOT / "ood-runtime"
ADDRESS = "192.0.2.7"


def one_for_all(script: Path, tasks: Sequence[Task]) -> tuple[Launch, ...]:
    """As Slurm."""
    return (Launch(("srun", str(script)), tuple(task.rank for task in tasks), {"SLURM_HINT": None}),)


def one_for_each(script: Path, tasks: Sequence[Task]) -> tuple[Launch, ...]:
    """As PBS."""
    return tuple(Launch(("pbsdsh", str(script), str(task.rank)), (task.rank,)) for task in tasks)


def one_for_each_node(script: Path, tasks: Sequence[Task]) -> tuple[Launch, ...]:
    """As Grid Engine with few slots."""
    groups = (tuple(task.rank for task in group) for _, group in groupby(tasks, key=lambda task: task.node))
    return tuple(Launch(("qrsh", str(script)), ranks) for ranks in groups)


def context(
    nodes: int | Sequence[Node] = 3,
    environment: Mapping[str, str] | None = None,
    site: Mapping[str, str] | None = None,
    job_id: str = "7",
    **spark: Any,
) -> Context:
    """A job on ``nodes`` of 8 processors and 32 GiB, with settings of ``spark``."""
    given = [Node(f"n{index}", 8, 32 * GIB) for index in range(nodes)] if isinstance(nodes, int) else nodes
    software = SparkSoftware(
        spark=Spark(Path("/opt/spark"), "4.0.1", "2.13", ()),
        java=Java(Path("/opt/java"), "21.0.8", frozenset({"jdk.incubator.vector"}), "$JAVA_HOME"),
        python=Path("/usr/bin/python3"),
        archives=None,
        archive_directory=None,
        ui_filter=None,
        site_conf=site or {},
        conf_directory=None,
    )
    return Context(
        settings=Settings.model_validate({"spark": spark}),
        allocation=Allocation("slurm", job_id, tuple(given), ROOT),
        software=Software(spark=software),
        place=Place("n0", ADDRESS, ADDRESS if len(given) > 1 else "127.0.0.1"),
        directories=Directories(ROOT, PRIVATE, ROOT / "logs", ROOT / "scratch", ROOT / "sockets"),
        grant=Grant(
            {"spark_master": 20002, "spark_master_ui": 20003, "spark_ui": 20004},
            {"spark": Secret("s" * 43), "spark_ui": Secret("u" * 43)},
            "id-of-session",
        ),
        environment=environment or {},
        umask=0o027,
        launch=one_for_all,
    )


def service(part: Part, name: str) -> Service:
    """The service of this name."""
    (found,) = [item for item in part.services if item.name == name]
    return found


def text(part: Part, name: str) -> str:
    """The content of the file of this name."""
    (found,) = [file for file in part.files if file.name == name]
    return found.content if isinstance(found.content, str) else found.content.decode()

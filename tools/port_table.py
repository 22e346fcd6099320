"""The only place that knows every port of a session, what protects it, and what a stranger hears from it.

The tables in docs/security.md are made of it (``python tools/port_table.py`` brings the page up to date, and
tests/unit/test_docs.py tells when it is not); tests/security compares it with what another user finds.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "security.md"
BEGIN = "<!-- begin of what tools/port_table.py writes -->"
END = "<!-- end of what tools/port_table.py writes -->"
RANGE = "from `ports.min` to `ports.max`"
DRAWN = "drawn by the kernel"


class Reach(StrEnum):
    """From where a port can be reached."""

    NODES = "the node's"
    CLUSTER = "127.0.0.1; with several nodes the node's"
    NODE = "127.0.0.1"


class Hears(StrEnum):
    """How a port refuses, as it is seen from outside; ``tests.security.answers`` tells one from the other."""

    CLOSED = "403, or where to log in"
    MOVED = "where the interface is (302)"
    FAILURE = "a failure"
    PY4J = "an error"
    GRPC = "`UNAUTHENTICATED`"
    WORKER = "a process number, then `err`"
    ERR = "`err`"
    ZEROMQ = "ZeroMQ's greeting"
    SILENCE = "nothing"


class Speaks(StrEnum):
    """Whether a port has TLS in a session where TLS is on."""

    TLS = "yes"
    TLS_4 = "with Spark 4"
    RELAY = "by a relay"
    PLAIN = "no"


@dataclass(frozen=True)
class Row:
    """One kind of port.

    ``marks`` are what the command lines of its processes have in them, one of them each; empty where no test of
    tests/security has such a port. ``most`` is how many of this kind a process may have.
    """

    process: str
    port: str
    reach: Reach
    who: str
    hears: Hears
    speaks: Speaks
    marks: tuple[str, ...]
    most: int = 1
    said: str = ""

    def heard(self) -> str:
        """What a stranger hears, for the page."""
        return self.said or self.hears.value


MASTER, WORKER = ("/master.args",), ("/worker.args", "/worker-", "/remote-worker.args")
DRIVER, CONNECT, SPARKR = ("/driver.args",), ("/connect.args",), ("sparkr-shell",)
EXECUTOR, KERNEL = ("CoarseGrainedExecutorBackend",), ("ipykernel", "_startup.py")
_LOGIN = "who has the password"
_SECRET, _TOKEN = "who knows the session's 256-bit secret", "who has the signed token (3.5: a bearer token)"
_BOTH = (*DRIVER, *CONNECT, *SPARKR)

SESSION = (
    Row(
        "Jupyter", RANGE, Reach.NODES, f"{_LOGIN}; XSRF value for everything that changes something",
        Hears.CLOSED, Speaks.TLS, ("jupyter_server.py",), said="403, the login page, or Jupyter's version (`/api`)",
    ),
    Row(
        "RStudio Server", RANGE, Reach.NODES, f"{_LOGIN}, under the owner's name",
        Hears.CLOSED, Speaks.RELAY, ("/rserver",), said="the sign-in page",
    ),
    Row(
        "gateway to Spark's web interfaces (`rstudio-spark`)", RANGE, Reach.NODES,
        "who has its secret, or the cookie that is made of it; GET and HEAD only",
        Hears.CLOSED, Speaks.TLS, ("ood_runtime.gateway_server",), said="403, and where the button is",
    ),
    Row("Spark master", "RPC, from the range", Reach.CLUSTER, _SECRET, Hears.FAILURE, Speaks.TLS_4, MASTER),
    Row(
        "Spark master", "web interface, from the range", Reach.CLUSTER, _TOKEN,
        Hears.CLOSED, Speaks.TLS_4, MASTER, said="403",
    ),
    Row("Spark worker", f"RPC, {DRAWN}", Reach.CLUSTER, _SECRET, Hears.FAILURE, Speaks.TLS_4, WORKER),
    Row(
        "Spark worker", f"web interface, {DRAWN}", Reach.CLUSTER, _TOKEN,
        Hears.CLOSED, Speaks.TLS_4, WORKER, said="403",
    ),
    Row(
        "driver of a notebook or of R, and Spark Connect server", "RPC, block manager", Reach.CLUSTER,
        f"{_SECRET}; **but see the files of a driver below**", Hears.FAILURE, Speaks.TLS_4, _BOTH, most=2,
    ),
    Row(
        "driver of a notebook or of R, and Spark Connect server", "web interface", Reach.CLUSTER, _TOKEN,
        Hears.CLOSED, Speaks.TLS_4, _BOTH, said="403",
    ),
    Row(
        "driver of a notebook, also one that waits for it", "py4j", Reach.NODE,
        "who knows a 256-bit secret of this driver", Hears.PY4J, Speaks.PLAIN, DRIVER,
    ),
    Row(
        "driver of R (SparkR)", f"backend and its monitor, {DRAWN}", Reach.NODE,
        "who knows a 256-bit secret of this driver", Hears.ERR, Speaks.PLAIN, SPARKR, most=2,
    ),
    Row(
        "driver of R (sparklyr)", "gateway, from the range, or the next free one", Reach.NODE,
        "**everybody on the node, see below**", Hears.SILENCE, Speaks.PLAIN, (), said="what it asks for",
    ),
    Row(
        "Spark Connect server (`spark.sharing: connect`)", "gRPC, from the range; nobody else gets `::1`", Reach.NODE,
        "who knows a 256-bit token, drawn anew at each start of the server", Hears.GRPC, Speaks.PLAIN, CONNECT,
    ),
    Row(
        "driver of a notebook, executor", "data for their Python, for the moment until that takes it", Reach.NODE,
        "who knows a secret of this driver or executor", Hears.ERR, Speaks.PLAIN, (*DRIVER, *EXECUTOR), most=16,
    ),
    Row("executor", "block manager", Reach.CLUSTER, _SECRET, Hears.FAILURE, Speaks.TLS_4, EXECUTOR),
    Row(
        "executor's Python workers", "`pyspark.daemon`", Reach.NODE, "who knows a secret of this executor",
        Hears.WORKER, Speaks.PLAIN, ("pyspark.daemon",),
    ),
    Row(
        "PySpark kernel", "accumulators", Reach.NODE, "who knows a secret of this driver",
        Hears.SILENCE, Speaks.PLAIN, ("pyspark_startup.py",),
    ),
    Row(
        "Python (MPI), in a job with several nodes", "ipyparallel's controller, for ranks", Reach.NODES,
        "who knows the CurveZMQ key of this kernel", Hears.ZEROMQ, Speaks.PLAIN, (),
    ),
    Row(
        "Python (MPI)", "ipyparallel's controller, for the notebook", Reach.NODE,
        "who knows the CurveZMQ key of this kernel", Hears.ZEROMQ, Speaks.PLAIN, (),
    ),
    Row(
        "kernel", "ipykernel's pipe for the output of programs", Reach.NODE,
        "takes text only, with a random value in front", Hears.ZEROMQ, Speaks.PLAIN, KERNEL,
    ),
    Row(
        "Slurm's `srun`, which starts the workers of other nodes", f"output and messages of the step, {DRAWN}",
        Reach.NODES, "Slurm's daemons, by its own authentication", Hears.SILENCE, Speaks.PLAIN, ("/srun ",), most=8,
    ),
    Row(
        "`ood-runtime history`", f"its way in, {DRAWN}, or `--port`", Reach.NODE,
        "who knows the path (64 bits) and the secret (190 bits), both new each time",
        Hears.CLOSED, Speaks.PLAIN, (), said="404; with the path 403 and a page that asks",
    ),
    Row(
        "`ood-runtime history --portal`", "its way in, from the range, or `--port`", Reach.NODES,
        "who knows the secret", Hears.CLOSED, Speaks.PLAIN, (), said="403 and a page that asks",
    ),
    Row(
        "`ood-runtime history`", "Spark's history server, from the range", Reach.NODE, "who has the token",
        Hears.CLOSED, Speaks.PLAIN, (), said="403",
    ),
)  # fmt: skip
WITH_TLS = (
    Row(
        "Spark 4: master, worker, driver, Spark Connect server", f"one beside each web interface, {DRAWN}",
        Reach.CLUSTER, "nobody", Hears.MOVED, Speaks.PLAIN, (*MASTER, *WORKER, *_BOTH),
    ),
    Row(
        "relay before RStudio Server", RANGE, Reach.NODES, "as RStudio Server, over TLS",
        Hears.CLOSED, Speaks.TLS, ("ood_runtime.tls_relay",), said="the sign-in page",
    ),
    Row(
        "RStudio Server behind it", "from the range", Reach.NODE, "as above, without TLS",
        Hears.CLOSED, Speaks.PLAIN, ("/rserver",), said="the sign-in page",
    ),
)  # fmt: skip

# Spark 3.5 has no TLS between the nodes: its web interfaces on the first one stay there.
WITH_TLS_3_5 = (
    Row(
        "Spark 3.5: master, worker and driver on the first node", "web interface", Reach.NODE, _TOKEN,
        Hears.CLOSED, Speaks.PLAIN, (*MASTER, *WORKER, *_BOTH), said="403",
    ),
    Row(
        "Spark 3.5: worker on another node", f"web interface, {DRAWN}", Reach.CLUSTER, _TOKEN,
        Hears.CLOSED, Speaks.TLS, ("/remote-worker.args",), said="403",
    ),
)  # fmt: skip


def table(rows: tuple[Row, ...]) -> str:
    """A Markdown table."""
    lines = ["| Process | Port | Address | TLS, where it is on | Who gets in | A stranger hears |", "| --- " * 6 + "|"]
    for row in rows:
        cells = (row.process, row.port, row.reach.value, row.speaks.value, row.who, row.heard())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def up_to_date(page: str) -> str:
    """The text of the page with the tables as they should be now: the first for all sessions, the second with TLS."""
    before, _, rest = page.partition(BEGIN)
    _, _, rest = rest.partition(END)
    between, _, rest = rest.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = [f"{BEGIN}\n{table(rows)}\n{END}" for rows in (SESSION, WITH_TLS + WITH_TLS_3_5)]
    return before + written[0] + between + written[1] + after


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")

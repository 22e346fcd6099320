"""The workers of a session's cluster: on the first node as children of ours, on the others by the scheduler's launcher.

Ranks count all workers of a session, node by node.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ood_runtime import container, gpus, spark_jvm, spark_tls, spark_worker_script, ui_filter, worker_list
from ood_runtime.allocation import Launch, Task
from ood_runtime.container import Container
from ood_runtime.context import Context
from ood_runtime.plan import File, Part
from ood_runtime.probes import MasterPage, SparkWorkers
from ood_runtime.render import render
from ood_runtime.service import Check, Service
from ood_runtime.settings import sizes as memory
from ood_runtime.settings.sizes import MIB
from ood_runtime.spark_properties import address, master_url, spark_software
from ood_runtime.spark_sizes import HEAP_SHARE, Offer, Sizes
from ood_runtime.spark_worker_script import RemoteWorker

MASTER = "spark-master"
_MAIN = "org.apache.spark.deploy.worker.Worker"
_ENVIRONMENT, _REMOTE, _REMOTE_OPTIONS = "spark/environment.sh", "spark/remote-worker.sh", "spark/remote-worker.args"


def master_page(context: Context) -> MasterPage:
    """Where the master tells of itself."""
    secret = context.grant.secrets["spark_ui"]
    return MasterPage(
        address=spark_tls.interface_address(context),
        port=context.grant.ports["spark_master_ui"],
        authorization=ui_filter.authorization(spark_software(context).spark.release, secret),
        certificate=spark_tls.interface_certificate(context),
    )


def workers(context: Context, sizes: Sizes) -> Part:
    """All workers, what they read, and the check that they have found their master."""
    here, elsewhere = ranks(context)
    names = _names(context, here)
    ours, theirs = _on_this_node(context, sizes, names), _on_other_nodes(context, sizes, elsewhere)
    total = len(here) + len(elsewhere)
    check = Check(
        name="spark-cluster",
        ready=SparkWorkers(
            master_page(context),
            wanted=wanted(context.settings.spark.wait_for_workers, total),
            total=total,
            ranks={**{name: (rank,) for rank, name in names.items()}, **theirs.ranks},
            trouble=_trouble(context),
        ),
        ready_seconds=context.settings.timeouts.ready,
        log=ours.services[0].log if here else f"logs/{MASTER}.log",
        after=(MASTER, *names.values()),
        # Each answer takes a starting JVM 6 ms, while the session waits for nothing else.
        probe_seconds=0.05,
    )
    return Part(
        files=ours.files + theirs.files,
        directories=theirs.directories,
        services=ours.services + theirs.services,
        checks=(check,),
    )


def ranks(context: Context) -> tuple[list[int], list[Task]]:
    """The workers on this node, by their ranks, and those on the other nodes."""
    settings, nodes = context.settings.spark, len(context.allocation.nodes)
    here = [] if settings.driver_only else list(range(settings.workers_per_node))
    per_node = settings.workers_per_node
    return here, [Task(len(here) + index, 1 + index // per_node) for index in range((nodes - 1) * per_node)]


def wanted(setting: str, total: int) -> int:
    """How many workers ``spark.wait_for_workers`` asks for, of ``total``; at most all, at least one."""
    if setting == "all":
        return total
    if setting.endswith("%"):
        return max(1, math.ceil(total * int(setting[:-1]) / 100))
    return min(int(setting), total)


def _names(context: Context, here: Sequence[int]) -> dict[int, str]:
    """What the services of this node's workers are called, by rank."""
    alone = len(here) == 1 and len(context.allocation.nodes) == 1
    return {rank: "spark-worker" if alone else f"spark-worker-{rank}" for rank in here}


def _on_this_node(context: Context, sizes: Sizes, names: Mapping[int, str]) -> Part:
    if sizes.worker is None:
        return Part()
    devices = gpus.shares(context, len(names))
    script = render(
        "spark_worker.sh.j2", environment=spark_jvm.environment(context), java=spark_jvm.executable(context)
    )
    files = [File("spark/worker.sh", script, executable=True)]
    for rank, name in names.items():
        files.append(
            File(_argument_file(name), _arguments(context, _told(sizes, sizes.worker), rank, devices.get(rank)))
        )
    files += [File(gpus.file_name(rank), gpus.resources(of)) for rank, of in devices.items()]
    services = [
        Service(
            name=name,
            argv=(
                str(context.directories.private / "spark/worker.sh"),
                str(context.directories.private / _argument_file(name)),
                str(_gate(context, rank) or ""),
            ),
            environment=gpus.environment(context.environment, devices.get(rank)),
            directory=context.directories.scratch,
            ready_seconds=context.settings.timeouts.ready,
            after=(MASTER,),
            gate=_gate(context, rank),
            essential=False,
            restarts=context.settings.spark.worker.restarts,
        )
        for rank, name in names.items()
    ]
    return Part(files=tuple(files), services=tuple(services))


def _told(sizes: Sizes, offer: Offer) -> Offer:
    """What Spark is told, which gives each core to one notebook only."""
    return replace(offer, cores=sizes.told(offer.cores))


def _argument_file(name: str) -> str:
    return f"spark/{name.removeprefix('spark-')}.args"


def _arguments(context: Context, offer: Offer, rank: int, devices: list[str] | None) -> str:
    program: list[object] = ["--host", address(context), "--port", 0, "--webui-port", 0]
    program += ["--cores", offer.cores, "--memory", memory.spark(offer.memory)]
    program += ["--work-dir", context.directories.scratch / "spark" / "work"]
    system = gpus.properties(context, rank, devices)
    system |= worker_list.id_property(rank, context.allocation.nodes[0].host)
    system |= spark_tls.worker_properties(context)
    # Read when the worker's RPC is up and before it looks for its master: there it waits until that takes workers.
    # A worker that came too early would ask again after 5 to 15 s.
    gate = _gate(context, rank)
    if gate:
        system["spark.metrics.conf"] = str(gate)
    options = spark_jvm.daemon_options(context, system, temporary=context.directories.temporary)
    return spark_jvm.argument_file([*options, _MAIN, *program, *_last_arguments(context)])


def _last_arguments(context: Context) -> tuple[str, ...]:
    return ("--properties-file", str(spark_jvm.properties_path(context)), master_url(context))


def _gate(context: Context, rank: int) -> Path | None:
    """Where a worker waits for its master; nowhere when the site or the user has a file for metrics."""
    theirs = "spark.metrics.conf" in {**spark_software(context).site_conf, **context.settings.spark.conf}
    return None if theirs else context.directories.scratch / "spark" / f"gate-{rank}"


def master_ready(context: Context) -> Path:
    """What says on other nodes that the master takes workers."""
    return context.directories.private / "spark" / "master-ready"


def _trouble(context: Context) -> Path:
    # What an earlier session in this directory left there must not be taken for ours.
    return context.directories.private / "spark" / "trouble" / context.grant.session_id


@dataclass(frozen=True)
class _Remote(Part):
    """What runs the workers on other nodes; ``ranks`` are those that each service runs."""

    ranks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def _on_other_nodes(context: Context, sizes: Sizes, tasks: Sequence[Task]) -> _Remote:
    if not tasks:
        return _Remote()
    private = context.directories.private
    launches = context.launch(private / _REMOTE, tasks)
    script = spark_worker_script.script(_remote_worker(context, sizes, tasks))
    files = (
        File(_REMOTE, script, executable=True),
        File(_REMOTE_OPTIONS, spark_jvm.argument_file(spark_jvm.daemon_options(context, {}, temporary=None))),
        File(_ENVIRONMENT, spark_worker_script.environment_file(context.environment), secret=True),
    )
    services = tuple(_launcher(context, launch, alone=len(launches) == 1) for launch in launches)
    started = {service.name: launch.ranks for service, launch in zip(services, launches, strict=True)}
    return _Remote(files=files, directories=(_trouble(context),), services=services, ranks=started)


def _launcher(context: Context, launch: Launch, *, alone: bool) -> Service:
    which = "-".join(map(str, sorted({launch.ranks[0], launch.ranks[-1]})))
    name = "spark-workers" if alone else f"spark-workers-{which}"
    return Service(
        name=name,
        argv=launch.argv,
        # Not this session's, which is on this node only.
        environment={**launch.environment, "TMPDIR": context.environment.get("TMPDIR")},
        directory=context.directories.session,
        ready_seconds=context.settings.timeouts.ready,
        essential=False,
        remote=True,
        restarts=context.settings.spark.worker.restarts,
        stop_signal=launch.stop_signal,
    )


def _remote_worker(context: Context, sizes: Sizes, tasks: Sequence[Task]) -> RemoteWorker:
    settings, software = context.settings.spark, spark_software(context)
    by_network = settings.network or ""
    image = _container(context)
    return RemoteWorker(
        session_id=context.grant.session_id,
        logs=context.directories.logs,
        trouble=_trouble(context),
        environment_file=context.directories.private / _ENVIRONMENT,
        environment=spark_jvm.environment(context),
        umask=context.umask,
        java=Path(spark_jvm.executable(context)),
        options=context.directories.private / _REMOTE_OPTIONS,
        main=_MAIN,
        program=_last_arguments(context),
        master_host=address(context),
        master_port=context.grant.ports["spark_master"],
        master_ready=master_ready(context),
        executor_cores=sizes.executor_cores,
        executor_mib=sizes.executor_memory // MIB,
        shares=sizes.shares,
        reserve_mib=settings.master_memory // MIB,
        heap_share=HEAP_SHARE,
        first_rank=tasks[0].rank,
        per_node=settings.workers_per_node,
        cores=settings.worker.cores or 0,
        memory_mib=(settings.worker.memory or 0) // MIB,
        allotted=_rows(context, tasks),
        exclusive=context.allocation.unlimited_memory != "free",
        share_memory=context.allocation.unlimited_memory == "part",
        # Where no scheduler has given us the nodes, others may work there too.
        needed=_needed(image) if image else (software.java.executable, software.spark.home, software.python),
        container=image.words([context.directories.session]) if image else (),
        wholly_inside=image is not None and context.container is None,
        interface="" if "/" in by_network else by_network,
        network=by_network if "/" in by_network else "",
        gpus=settings.gpu.enabled,
        scratch=tuple(settings.worker.scratch_dirs),
        local_dirs=tuple(settings.worker.local_dirs),
        gate=_gate(context, 0) is not None,
        restarts=settings.worker.restarts,
        boot_seconds=math.ceil(context.settings.timeouts.ready),
    )


def _needed(image: Container) -> tuple[Path, ...]:
    """What a node must have where the software is in a container; a program without a path is looked for there."""
    return (*filter(Path.is_absolute, [image.program]), image.image)


def _container(context: Context) -> Container | None:
    """What runs a worker in the container on its node, where the script adds the directories that it makes."""
    return context.container or container.around(context.environment)


def _rows(context: Context, tasks: Sequence[Task]) -> tuple[tuple[int, int, int], ...]:
    """What the job was given on the other nodes, equal neighbours together: last rank, cores, MiB; 0 is unknown."""
    rows: list[tuple[int, int, int]] = []
    for task in tasks:
        node = context.allocation.nodes[task.node]
        given = (node.cpus if node.cpus_told else 0, node.memory // MIB if node.memory_told else 0)
        if rows and rows[-1][1:] == given:
            rows.pop()
        rows.append((task.rank, *given))
    return tuple(rows)

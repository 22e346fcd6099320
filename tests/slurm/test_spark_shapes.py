"""Spark sessions in jobs of every shape: nodes that differ, memory that is limited or unknown, GPUs, one that fails."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.slurm.cluster import Cluster, ClusterSpec, NodeSize, slurm
from tests.slurm.conftest import lent
from tests.slurm.spark_jobs import NODES, SRUN, WORKER, SparkJob, soon, spark

pytestmark = [pytest.mark.root, pytest.mark.integration]

CPUS = len(os.sched_getaffinity(0))  # of this machine, which nodes claim to have more of
MIB = 1 << 20
# Every executor keeps all that its heap takes while each of its Python workers, and the notebook's, holds a lot.
FULL = """import os, pyspark, time
def fill(_):
    kept = os.urandom(1 << 20) * 100
    time.sleep(3)
    return len(kept) >> 20
block = os.urandom(1 << 20)
wide = sc.parallelize(range(500), 50).map(lambda i: os.urandom(1 << 20)).persist(pyspark.StorageLevel.MEMORY_ONLY)
blocks, kept = wide.count(), block * 200
held = sc.parallelize(range({tasks}), {tasks}).map(fill).collect()
cached = sum(info.memSize() for info in sc._jsc.sc().getRDDStorageInfo())
found = blocks, sum(held), wide.map(len).sum() >> 20, cached >> 20"""
BESIDE = "import threading\nload = threading.Thread(target=exec, args=({code!r}, globals()))\nload.start()"
RESOURCES = """import os
def devices(_):
    import time
    from pyspark import TaskContext
    time.sleep(0.3)
    gpus = TaskContext.get().resources()["gpu"].addresses
    return os.uname().nodename, os.environ["CUDA_VISIBLE_DEVICES"], *gpus
import json
print(json.dumps(sorted(set(sc.parallelize(range(24), 24).map(devices).collect()))))"""
LOCAL = """import os, time
def look(_):
    time.sleep(0.2)
    return os.uname().nodename + " " + os.environ["SPARK_LOCAL_DIRS"]
print(*sorted(set(sc.parallelize(range(24), 24).map(look).collect())), sep="\\n")"""


@pytest.fixture(scope="module")
def mixed_of_module() -> Iterator[Cluster]:
    """Nodes of different size, of a Slurm that does not schedule memory."""
    nodes = (NodeSize(2, 4000), NodeSize(8, 16000, gpus=2), NodeSize(4, 6000, gpus=2))
    settings = {"SelectTypeParameters": "CR_Core", "DefMemPerCPU": None}
    with slurm(ClusterSpec(nodes, settings=settings)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def even_of_module() -> Iterator[Cluster]:
    """Three nodes, and memory that cgroups limit."""
    with slurm(ClusterSpec(tracking="cgroup")) as cluster:
        yield cluster


@pytest.fixture
def mixed(mixed_of_module: Cluster) -> Iterator[Cluster]:
    yield from lent(mixed_of_module)


@pytest.fixture
def even(even_of_module: Cluster) -> Iterator[Cluster]:
    yield from lent(even_of_module)


def cancel(session: SparkJob) -> None:
    session.job.cancel()
    session.job.wait()
    session.assert_gone()


def test_nodes_of_different_size_whose_memory_is_not_scheduled(mixed: Cluster) -> None:
    """Each worker offers what its own node has: here all share this machine's."""
    places = {node: mixed.machines.path(node, Path("/var/tmp/fast")) for node in mixed.nodes}
    for place in places.values():
        place.mkdir(mode=0o1777)
        place.chmod(0o1777)
    settings = ("spark.network=10.77.0.0/16", 'spark.worker.local_dirs=["/var/tmp/fast"]')
    session = spark(mixed, *settings, nodes=3, options=("--exclusive", "--mem=0"))
    session.connection()
    workers = session.alive()
    total = psutil.virtual_memory().total
    cpus = [2 * min(CPUS, size) for size in (2, 8, 4)]  # as often as notebooks share them
    assert [workers[node]["cores"] for node in mixed.nodes] == cpus
    memory = [workers[node]["memory"] for node in mixed.nodes]
    assert memory[0] == int((total - (512 + 2 * 512 + 512 + 51.2) * MIB) * 0.7) // MIB
    assert memory[1:] == [int((total // MIB - 512) * 0.7)] * 2
    with session.notebook(3) as run:
        directories = dict(line.split() for line in run(LOCAL).splitlines())
    assert sorted(directories) == list(mixed.nodes)
    assert all(directories[node].count("/var/tmp/fast/ood-") == 1 for node in mixed.nodes)
    cancel(session)
    assert not [entry for place in places.values() for entry in place.iterdir()]


def test_two_workers_on_each_node_share_its_gpus(mixed: Cluster) -> None:
    settings = ("spark.workers_per_node=2", "spark.gpu.enabled=true", "spark.network=eth*")
    options = ("--exclude=node01", "--gpus-per-node=2", "--exclusive", "--mem=5500")
    session = spark(mixed, *settings, options=options)
    session.connection()
    assert sorted(session.alive()) == ["node02", "node02/2", "node03", "node03/2"]
    with session.notebook(4) as run:
        found = json.loads(run(RESOURCES))
    assert found == [[node, device, "0"] for node in ("node02", "node03") for device in "01"]
    cancel(session)


def test_a_heterogeneous_job_whose_first_node_has_the_driver_only(mixed: Cluster) -> None:
    parts = ("--nodelist=node02", ":", "--nodes=2", "--nodelist=node01,node03")
    session = spark(mixed, "spark.driver_only=true", nodes=1, options=parts)
    session.connection()
    assert sorted(session.alive()) == ["node01", "node03"]
    with session.notebook(2) as run:
        assert run(NODES.format(tasks=12)) == "node01 node03"
    cancel(session)


def test_full_load_under_a_limit_of_memory(even: Cluster) -> None:
    """Two notebooks at once, each with its driver, executors and their Python, use all of it: nothing is killed."""
    session = spark(even, options=("--exclusive",))
    session.connection()
    with session.notebook(2) as first, session.notebook(2) as second:
        tasks = sum(worker["cores"] for worker in session.alive().values()) // 2
        for run in (first, second):
            run(BESIDE.format(code=FULL.format(tasks=tasks)))
        found = [tuple(map(int, run("load.join(); print(*found)").split())) for run in (first, second)]
    assert [numbers[:3] for numbers in found] == [(500, tasks * 100, 500)] * 2
    assert sum(cached for *_, cached in found) > 300  # of all executors' heaps
    groups = sorted(Path("/sys/fs/cgroup/memory", even.machines.state.name).glob(f"*/**/job_{session.job.id}"))
    assert len(groups) == 2
    for group in groups:
        most = int((group / "memory.max_usage_in_bytes").read_text()) // MIB
        print(f"{group}: {most} of {int((group / 'memory.limit_in_bytes').read_text()) // MIB} MiB used at most")
        assert most > 1000
        assert "oom_kill 0" in (group / "memory.oom_control").read_text()
    cancel(session)


def test_a_node_that_cannot_start_its_worker_is_named(even: Cluster) -> None:
    even.machines.check(["mount", "-o", "remount,bind,ro", "/tmp"], on="node03")
    try:
        session = spark(even, "spark.wait_for_workers=2", nodes=3)
        session.connection()
        session.wait_for_workers("node01", "node02")
        soon(lambda: session.session.status()["notices"], "notice")
        (notice,) = session.session.status()["notices"]
        assert notice.startswith("worker 2 on node03 failed: no directory for scratch space can be used")
        assert notice.endswith("(logs/spark-worker-2.log)")
        assert "no directory for scratch" in (session.session.directory / "logs/spark-worker-2.log").read_text()
    finally:
        even.machines.check(["mount", "-o", "remount,bind,rw", "/tmp"], on="node03")
    cancel(session)


def test_a_node_that_cannot_start_its_worker_when_all_are_wanted(even: Cluster) -> None:
    even.machines.check(["mount", "-t", "tmpfs", "tmpfs", "/usr/lib/jvm"], on="node03")
    try:
        session = spark(even, nodes=3)
        began = time.monotonic()
        assert session.job.wait() == "FAILED"
    finally:
        even.machines.check(["umount", "/usr/lib/jvm"], on="node03")
    assert time.monotonic() - began < 30  # timeouts.ready is 300
    assert session.job.facts()["ExitCode"] == "5:0"
    assert "worker 2 on node03 failed: /usr/lib/jvm/" in session.job.output()
    assert "is not on this node" in session.session.status()["error"]["what"]
    assert not (session.session.directory / "connection.yml").exists()
    session.assert_gone()


def test_sixteen_nodes() -> None:
    """One call of the launcher for all of them; the numbers are printed, since machines differ."""
    with slurm(ClusterSpec(nodes=(NodeSize(),) * 16)) as cluster:
        for count in (2, 16):
            session = spark(cluster, nodes=count)
            session.connection()
            assert sorted(session.alive()) == list(cluster.nodes[:count])
            commands = {line for lines in cluster.left().values() for line in lines.values() if SRUN in line}
            assert len(commands) == 1
            times = [psutil.Process(pid).cpu_times() for node in cluster.nodes for pid in session.pids(node, WORKER)]
            status = session.session.status()
            took, spent = status["ready_at"] - status["started_at"], sum(cpu.user + cpu.system for cpu in times)
            print(
                f"{count} nodes: ready after {took:.1f} s; {len(times)} JVMs of workers took {spent:.1f} s of CPU time"
            )
            cancel(session)

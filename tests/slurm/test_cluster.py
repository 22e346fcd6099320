"""The Slurm of the tests itself: real, several nodes, and gone without a trace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import NOTICES_SOON, Cluster, ClusterSpec, NodeSize, Tracking, slurm
from tests.slurm.jobs import submit, submit_parts
from tests.slurm.machines import STATES
from tests.support.accounts import Account, user_of_tests

pytestmark = [pytest.mark.root, pytest.mark.integration]

THREE = ("--nodes=3", "--ntasks-per-node=1")
OVERLAP = "srun --export=ALL --overlap"
HOLD = """import sys
from tests.slurm.cluster import ClusterSpec, slurm
with slurm(ClusterSpec(tracking=sys.argv[1])) as cluster:
    print(cluster.machines.state, cluster.machines.by_name["node02"].init, flush=True)
    sys.stdin.read()"""


def test_a_job_on_all_nodes_as_a_portal_submits_it(cluster: Cluster) -> None:
    script = (
        f"{OVERLAP} sh -c 'echo $SLURM_PROCID $(hostname) $(id -un)'; echo $SLURM_SUBMIT_DIR $PWD $SLURM_EXPORT_ENV"
    )
    job = submit(cluster, script, *THREE)
    assert job.wait() == "COMPLETED"
    *tasks, last = job.output().splitlines()
    user = user_of_tests().name
    assert sorted(tasks) == [f"{rank} {node} {user}" for rank, node in enumerate(cluster.nodes)]
    assert last == f"/ {job.directory} NONE"
    assert job.nodes() == cluster.nodes
    assert script in job.script()


def test_steps_and_processes_are_seen_while_they_run(cluster: Cluster) -> None:
    job = submit(cluster, f"{OVERLAP} --job-name=three sh -c 'echo up; exec sleep 300'", *THREE)
    job.wait_for(lambda: job.output().count("up") == 3 or None, "3 tasks")
    assert "three" in job.steps()
    assert {node for node, lines in cluster.left().items() if "sleep 300" in lines.values()} == set(cluster.nodes)
    job.cancel()
    assert job.wait() == "CANCELLED"


def test_machines_are_machines(cluster: Cluster) -> None:
    """What each has to itself, and what they share."""
    machines = cluster.machines
    for node in cluster.nodes:
        machines.check(["sh", "-c", "hostname > /tmp/name; hostname > /run/name; hostname > /dev/shm/name"], on=node)
        assert machines.path(node, Path("/tmp/name")).read_text() == f"{node}\n"
    for node in cluster.nodes:
        seen = machines.check(["sh", "-c", "cat /tmp/name /run/name /dev/shm/name; ps ax"], on=node)
        assert seen.split()[:3] == [node] * 3
        assert seen.count("slurmd -D") == 1 and "slurmctld" not in seen
        assert machines.check(["cat", f"{machines.state}/etc/hosts"], on=node) == machines.check(["cat", "/etc/hosts"])
    assert not Path("/tmp/name").exists() or "node" not in Path("/tmp/name").read_text()


def test_only_their_owner_can_end_jobs(cluster: Cluster, mallory: Account) -> None:
    job = submit(cluster, "echo up; sleep 300")
    job.wait_for_line("up")
    assert cluster.machines.run(["scancel", job.id], user=mallory).returncode != 0
    assert job.state() == "RUNNING"


def test_what_stays_after_a_job(cluster: Cluster, tracking: Tracking) -> None:
    """Why both ways of tracking are tested: one of them loses who leaves the family."""
    job = submit(cluster, "(setsid sleep 299 &)\necho done")
    assert job.wait() == "COMPLETED"
    if tracking == "cgroup":
        cluster.machines.until(lambda: not cluster.left(), "end of what the job left", 10)
    else:
        cluster.machines.until(lambda: list(cluster.left()) == [job.facts()["BatchHost"]], "process that stays", 10)
        cluster.kill_left()


def test_memory_is_limited(cluster: Cluster, tracking: Tracking) -> None:
    job = submit(cluster, "exec python3 -c 'x = bytearray(300 << 20); print(len(x))'", "--mem=100")
    state = job.wait()
    assert state == ("OUT_OF_MEMORY" if tracking == "cgroup" else "COMPLETED"), job.output()


@pytest.fixture(scope="module")
def mixed(short_share: Path) -> Iterator[Cluster]:
    """Nodes of different size, of a Slurm that does not schedule memory and is quick to miss a node."""
    nodes = (NodeSize(2, 2000), NodeSize(8, 16000, gpus=2), NodeSize(4, 4000, gpus=1))
    settings = {"SelectTypeParameters": "CR_Core", "DefMemPerCPU": None, **NOTICES_SOON}
    with slurm(ClusterSpec(nodes, shares=[short_share], settings=settings)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def short_share() -> Iterator[Path]:
    path = Path(f"/tmp/test-share-{os.getpid()}")
    path.mkdir()
    yield path
    path.rmdir()


def test_nodes_of_different_size(mixed: Cluster, short_share: Path) -> None:
    job = submit(mixed, f"env; ls -d {short_share}", "--nodes=3", "--exclusive")
    assert job.wait() == "COMPLETED", job.output()
    values = dict(line.split("=", 1) for line in job.output().splitlines() if line.startswith("SLURM"))
    assert values["SLURM_JOB_CPUS_PER_NODE"] == "2,8,4"
    assert not [name for name in values if "SLURM_MEM" in name]
    assert str(short_share) in job.output().splitlines()


def test_gpus(mixed: Cluster) -> None:
    command = 'echo "$(hostname) $CUDA_VISIBLE_DEVICES $SLURM_GPUS_ON_NODE"'
    job = submit(mixed, f"{command}\n{OVERLAP} sh -c '{command}'", "--nodes=2", "--gpus-per-node=1", "--exclude=node01")
    assert job.wait() == "COMPLETED", job.output()
    assert sorted(job.output().splitlines()) == ["node02 0 1", "node02 0 1", "node03 0 1"]


def test_a_heterogeneous_job(mixed: Cluster) -> None:
    script = "env | grep -E '^SLURM_(HET_SIZE|JOB_NODELIST)'; srun --het-group=0,1 --export=ALL hostname"
    job = submit_parts(mixed, script, [["--nodelist=node02"], ["--nodelist=node01,node03"]])
    assert job.wait() == "COMPLETED", job.output()
    lines = set(job.output().splitlines())
    groups = {"SLURM_JOB_NODELIST_HET_GROUP_0=node02", "SLURM_JOB_NODELIST_HET_GROUP_1=node[01,03]"}
    assert lines >= {"SLURM_HET_SIZE=2", *groups, *mixed.nodes}


def test_a_lost_node_is_noticed_and_comes_back(mixed: Cluster) -> None:
    stays = submit(mixed, f"{OVERLAP} --no-kill sh -c 'echo up; sleep 300'", "--nodes=2", "--no-kill", "-xnode03")
    stays.wait_for(lambda: stays.output().count("up") == 2 or None, "2 tasks")
    fails = submit(mixed, "echo up; sleep 300", "--no-requeue", "--nodelist=node03")
    fails.wait_for_line("up")
    mixed.machines.off("node02")
    mixed.machines.cut("node03")
    for node in ("node02", "node03"):
        mixed.wait_for_state(node, "down*")
    assert stays.state() == "RUNNING"
    assert fails.wait() == "NODE_FAIL"
    mixed.machines.on("node02")
    mixed.machines.mend("node03")
    stays.cancel()
    for node in mixed.nodes:
        mixed.wait_for_state(node, "idle")
    # What a node that was cut off ran ends when it hears of it.
    mixed.machines.until(lambda: not mixed.left(), "end of both jobs", 30)


def test_nothing_is_left_after_down(tracking: Tracking) -> None:
    before = _beneath()
    with slurm(ClusterSpec(nodes=[NodeSize()], tracking=tracking)) as cluster:
        job = submit(cluster, "echo up; (setsid sleep 299 &) ; sleep 299")
        job.wait_for_line("up")
        network = cluster.machines
        assert _beneath() == before
        assert _processes_in(network.state)
    assert not network.state.exists()
    assert not _processes_in(network.state)
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{network.state.name}"))


def test_a_killed_test_run_takes_its_cluster_along(tracking: Tracking) -> None:
    argv = [sys.executable, "-c", HOLD, tracking]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    state, init = process.stdout.readline().split()
    assert Path(f"/proc/{init}").exists() and _processes_in(Path(state))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{init}").exists() or _processes_in(Path(state)):
        assert time.monotonic() < deadline, _processes_in(Path(state))
        time.sleep(0.05)
    # Its files stay, until the next one comes up.
    assert Path(state).exists()
    with slurm(ClusterSpec(nodes=[NodeSize()])) as cluster:
        assert not Path(state).exists()
        assert [path.parent for path in STATES.glob("*/lock") if path.parent == cluster.machines.state]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{Path(state).name}"))


def _beneath() -> tuple[str, ...]:
    """What the machine beneath sees of itself."""
    links = subprocess.run(["ip", "-oneline", "link"], check=True, capture_output=True, text=True).stdout
    mounts = Path("/proc/self/mounts").read_text()
    files = [str(path) for place in ("/etc", "/etc/slurm", "/run", "/run/netns") for path in _entries(Path(place))]
    names = "\n".join(line.split(":")[1] for line in links.splitlines())
    return (Path("/etc/hosts").read_text(), os.uname().nodename, names, mounts, *files)


def _entries(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else []


def _processes_in(state: Path) -> list[str]:
    """Command lines that name the directory of a cluster: its machines' first processes and daemons."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # ended
    return [line for line in lines if str(state) in line]

"""What this process may use: control groups of both versions, as kernels and containers show them."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from ood_runtime import limits
from ood_runtime.limits import Limits, here
from ood_runtime.settings.sizes import GIB, MIB

V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = """\
24 23 0:20 / /sys rw - sysfs sysfs rw
31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory
33 23 0:29 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer"""
UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with 16 processors and 64 GiB, of which 48 are free."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=48 * GIB))


def tree(root: Path, cgroup: str, mounts: str, files: Mapping[str, object]) -> Path:
    for name, content in {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def v2(root: Path, files: Mapping[str, object], group: str = "/job/step", mounts: str = V2_MOUNT) -> Path:
    return tree(root, f"0::{group}", mounts, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})


def test_without_control_groups(tmp_path: Path) -> None:
    assert here(tmp_path) == Limits(cpus=16, memory=64 * GIB)
    assert here(tmp_path, exclusive=False) == Limits(cpus=16, memory=48 * GIB)


def test_this_machine() -> None:
    found = here()
    assert 1 <= found.cpus <= len(os.sched_getaffinity(0))
    assert 0 < found.memory <= 64 * GIB


def test_version_2(tmp_path: Path) -> None:
    root = v2(tmp_path, {"job/step/memory.max": 4 * GIB, "job/step/cpu.max": "200000 100000"})
    assert here(root) == Limits(cpus=2, memory=4 * GIB)


@pytest.mark.parametrize("where", ["job/step", "job", "."])
def test_version_2_limits_of_every_group_above(tmp_path: Path, where: str) -> None:
    files = {"job/step/memory.max": "max", "job/memory.max": "max", "job/step/cpu.max": "max 100000"}
    files |= {f"{where}/memory.max": str(4 * GIB), f"{where}/cpu.max": "300000 100000"}
    assert here(v2(tmp_path, files)) == Limits(cpus=3, memory=4 * GIB)


def test_the_smallest_of_nested_limits_counts(tmp_path: Path) -> None:
    root = v2(tmp_path, {"job/memory.max": 8 * GIB, "job/step/memory.max": 16 * GIB, "memory.max": 32 * GIB})
    assert here(root).memory == 8 * GIB


def test_limits_of_other_groups_do_not_count(tmp_path: Path) -> None:
    root = v2(tmp_path, {"job/other/memory.max": MIB, "jobs/memory.max": MIB, "job/step/memory.max": GIB})
    assert here(root).memory == GIB


@pytest.mark.parametrize(
    ("quota", "cpus"), [("50000 100000", 1), ("150000 100000", 1), ("250000 100000", 2), ("max", 16)]
)
def test_whole_processors_and_at_least_one(tmp_path: Path, quota: str, cpus: int) -> None:
    assert here(v2(tmp_path, {"job/cpu.max": quota})).cpus == cpus


def test_affinity_is_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5})
    assert here(v2(tmp_path, {"job/cpu.max": "800000 100000"})).cpus == 2


def test_a_limit_above_what_the_machine_has(tmp_path: Path) -> None:
    root = v2(tmp_path, {"job/memory.max": 1024 * GIB, "job/cpu.max": "9900000 100000"})
    assert here(root) == Limits(cpus=16, memory=64 * GIB)


def test_a_shared_node_counts_what_is_free(tmp_path: Path) -> None:
    assert here(v2(tmp_path, {"job/memory.max": "max"}), exclusive=False).memory == 48 * GIB


def test_version_1(tmp_path: Path) -> None:
    cgroup = "4:memory:/slurm/uid_1/job_2\n3:cpu,cpuacct:/slurm/uid_1/job_2\n2:freezer:/\n1:name=systemd:/x"
    base = "sys/fs/cgroup"
    files = {
        f"{base}/memory/memory.limit_in_bytes": UNLIMITED_V1,
        f"{base}/memory/slurm/uid_1/memory.limit_in_bytes": 6 * GIB,
        f"{base}/memory/slurm/uid_1/job_2/memory.limit_in_bytes": UNLIMITED_V1,
        f"{base}/cpu,cpuacct/cpu.cfs_quota_us": -1,
        f"{base}/cpu,cpuacct/cpu.cfs_period_us": 100000,
        f"{base}/cpu,cpuacct/slurm/uid_1/job_2/cpu.cfs_quota_us": 400000,
        f"{base}/cpu,cpuacct/slurm/uid_1/job_2/cpu.cfs_period_us": 100000,
    }
    assert here(tree(tmp_path, cgroup, V1_MOUNTS, files)) == Limits(cpus=4, memory=6 * GIB)


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": -1,
    }
    root = tree(tmp_path, "4:memory:/\n3:cpu,cpuacct:/", V1_MOUNTS, files)
    assert here(root) == Limits(cpus=16, memory=64 * GIB)


def test_hybrid_systemd_keeps_limits_in_version_1(tmp_path: Path) -> None:
    """Version 2 is mounted beside it, but without controllers."""
    mounts = V1_MOUNTS + "\n34 23 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    cgroup = "4:memory:/job\n3:cpu,cpuacct:/job\n0::/user.slice"
    files = {
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": 2 * GIB,
        "sys/fs/cgroup/unified/user.slice/cgroup.procs": 1,
    }
    assert here(tree(tmp_path, cgroup, mounts, files)).memory == 2 * GIB


def test_a_container_that_sees_its_group_as_the_top(tmp_path: Path) -> None:
    """Docker with a private cgroup namespace: /proc/self/cgroup says /."""
    root = v2(tmp_path, {"memory.max": GIB, "cpu.max": "100000 100000"}, group="/")
    assert here(root) == Limits(cpus=1, memory=GIB)


def test_a_container_that_sees_the_hosts_path(tmp_path: Path) -> None:
    """Docker with version 1: the group is bind-mounted, the path is that of the host."""
    mounts = V1_MOUNTS.replace("0:28 /", "0:28 /docker/abc").replace("0:27 /", "0:27 /docker/abc")
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": GIB,
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": 200000,
        "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": 100000,
    }
    root = tree(tmp_path, "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc/inner", mounts, files)
    assert here(root) == Limits(cpus=2, memory=GIB)


def test_a_group_outside_of_the_namespace(tmp_path: Path) -> None:
    """A process that was moved out sees /../other: what is there cannot be seen, the mount's own limit counts."""
    root = v2(tmp_path, {"memory.max": GIB}, group="/../other")
    assert here(root).memory == GIB


def test_a_second_mount_of_another_group(tmp_path: Path) -> None:
    """Programs mount single groups elsewhere; the mount that shows our own group counts."""
    mounts = V2_MOUNT + "\n44 23 0:26 /system.slice/x /run/x/cgroup rw - cgroup2 cgroup2 rw"
    assert here(v2(tmp_path, {"job/memory.max": GIB}, mounts=mounts)).memory == GIB


def test_a_group_whose_name_begins_like_that_of_the_mount(tmp_path: Path) -> None:
    mounts = V2_MOUNT.replace("0:26 /", "0:26 /job")
    root = v2(tmp_path, {"s/1/memory.max": MIB, "memory.max": GIB}, group="/jobs/1", mounts=mounts)
    assert here(root).memory != MIB


@pytest.mark.parametrize("content", ["", "max", "garbage", "0", "-1"])
def test_what_is_no_limit(tmp_path: Path, content: str) -> None:
    assert here(v2(tmp_path, {"job/memory.max": content})).memory == 64 * GIB


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_of_this_process(mask: int) -> None:
    before = os.umask(mask)
    try:
        assert limits.umask() == mask
    finally:
        os.umask(before)


@pytest.mark.parametrize("lines", [[], ["Name:\tpython3", "State:\tR"]])
def test_a_kernel_that_does_not_tell_the_umask(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 4.7; the strictest one is then meant."""
    monkeypatch.setattr(limits, "_lines", lambda path: lines)
    assert limits.umask() == 0o077

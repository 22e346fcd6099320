"""The parts of the script for other nodes that look around, in two shells, on nodes that are made of files."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ood_runtime.spark_worker_script import RemoteWorker, script
from tests.support.needs import need

V2_MOUNT = "30 23 0:26 / {sys}/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = """\
24 23 0:20 / {sys} rw - sysfs sysfs rw
31 23 0:27 / {sys}/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 / {sys}/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory
33 23 0:29 / {sys}/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer"""
V1_GROUPS = "5:freezer:/\n4:memory:/job/step\n3:cpu,cpuacct:/job/step\n1:name=systemd:/x\n0::/job"
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
ib0\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0"""
TRIE = "\n".join(
    f"           |-- {address}\n              /32 host LOCAL" for address in ("127.0.0.1", "192.168.1.7", "10.1.2.3")
)
IP = """ip() {
    case "$*" in
        *'route get'*) echo '10.1.0.1 dev ib0 src 10.1.2.3 uid 0 \\    cache' ;;
        *' to 10.1.0.0/16'*) echo '3: ib0    inet 10.1.2.3/16 brd 10.1.255.255 scope global ib0' ;;
        *' to '*) ;;
        *) printf '%s\\n' '1: lo    inet 127.0.0.1/8 scope host lo' '2: eth0    inet 192.168.1.7/24 scope global' \\
            '3: ib0    inet 10.1.2.3/16 brd 10.1.255.255 scope global ib0' ;;
    esac
}"""
NO_IP = "command() { return 1; }"
WORKER = RemoteWorker(
    session_id="s",
    logs=Path("/s/logs"),
    trouble=Path("/s/trouble"),
    environment_file=Path("/dev/null"),
    environment={},
    umask=0o022,
    java=Path("/java"),
    options=Path("/s/worker.args"),
    main="Worker",
    program=(),
    master_host="10.1.0.1",
    master_port=7077,
    master_ready=Path("/s/master-ready"),
    executor_cores=1,
    executor_mib=1,
    reserve_mib=512,
    heap_share=0.5,
)


class Node:
    """A node of 16 processors and 64 GiB, of which 48 are free, and a shell on it."""

    def __init__(self, root: Path, shell: str) -> None:
        self.root, self.shell = root, need(shell)
        self.add(
            "proc/self/status", "Name:\tsh\nCpus_allowed:\tffff\nCpus_allowed_list:\t0-7,16-23\nMems_allowed:\t1\n"
        )
        self.add("proc/meminfo", f"MemTotal:  {64 << 20} kB\nMemFree:  1 kB\nMemAvailable: {48 << 20} kB\n")
        self.add("proc/self/cgroup", "0::/")
        self.add("proc/self/mountinfo", "")
        self.add("sys/devices/system/cpu/online", "0-31\n")
        self.add("proc/net/route", ROUTES)
        self.add("proc/net/fib_trie", TRIE)

    def add(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{sys}", str(self.root / "sys")) + "\n")

    def says(self, commands: str, env: Mapping[str, str] | None = None, **values: Any) -> str:
        """What the script's functions print for ``commands``; what they would report as a failure, too."""
        functions = script(replace(WORKER, **values)).partition("\nrank=")[0]
        text = re.sub(r"(?<=[ <'])/(?=(proc|sys)/)", f"{self.root}/", functions)
        assert text != functions
        text += f'\nfail() {{ echo "fail: $1"; exit; }}\nsay() {{ echo "$1"; }}\nrank=5 host=node5\n{commands}\n'
        environment = {"PATH": f"/usr/bin:/bin:{self.root}", **(env or {})}
        done = subprocess.run(
            [self.shell], input=text.encode(), env=environment, capture_output=True, check=False, cwd=self.root
        )
        assert done.stderr == b"", done.stderr
        return done.stdout.decode().rstrip("\n")

    def offers(self, env: Mapping[str, str] | None = None, **values: Any) -> tuple[int, int]:
        """Cores, and memory in MiB before the reserve and the share that are not heap."""
        said = self.says('measure; echo "$cores $heap"', env, **{"reserve_mib": 0, "heap_share": 1, **values})
        cores, heap = map(int, said.split())
        return cores, heap


@pytest.fixture(params=["dash", "bash"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    return Node(tmp_path, request.param)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"gate": False, "exclusive": False, "share_memory": True},
        {"gpus": True, "cores": 2, "memory_mib": 900, "interface": "ib*", "network": "10.0.0.0/8"},
        {"scratch": ("/a/$USER", "/b"), "local_dirs": ("/c c",), "needed": (Path("/d"),), "allotted": ((1, 2, 3),)},
        {"container": ("apptainer", "exec", "/image"), "wholly_inside": True},
    ],
    ids=["plain", "shared", "gpus", "places", "inside"],
)
def test_shellcheck_likes_it(tmp_path: Path, values: Mapping[str, Any]) -> None:
    path = tmp_path / "worker.sh"
    path.write_text(script(replace(WORKER, **values)))
    command = [need("shellcheck"), "--severity=style", "--shell=sh", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def in_groups(node: Node, files: Mapping[str, object], cgroup: str = "0::/job/step", mounts: str = V2_MOUNT) -> None:
    node.add("proc/self/cgroup", cgroup)
    node.add("proc/self/mountinfo", mounts)
    for name, content in files.items():
        node.add(f"sys/fs/cgroup/{name}", str(content))


# --- processors and memory ---


def test_all_that_there_is(node: Node) -> None:
    assert node.offers() == (16, 64 << 10)
    assert node.offers(exclusive=False) == (16, 48 << 10)
    assert node.says('measure; echo "$heap"') == str((65536 - 512) // 2)


@pytest.mark.parametrize("where", ["job/step", "job", "."])
def test_control_groups_of_version_2(node: Node, where: str) -> None:
    in_groups(node, {"job/step/memory.max": "max", "job/memory.max": "max", "job/step/cpu.max": "max 100000"})
    in_groups(node, {f"{where}/memory.max": 4 << 30, f"{where}/cpu.max": "250000 100000"})
    assert node.offers() == (2, 4096)


def test_control_groups_of_version_1(node: Node) -> None:
    files = {"memory/job/step/memory.limit_in_bytes": 9223372036854771712, "memory/job/memory.limit_in_bytes": 3 << 30}
    files |= {"cpu,cpuacct/job/step/cpu.cfs_quota_us": -1, "cpu,cpuacct/job/step/cpu.cfs_period_us": 100000}
    files |= {"cpu,cpuacct/job/cpu.cfs_quota_us": 350000, "cpu,cpuacct/job/cpu.cfs_period_us": 100000}
    in_groups(node, files, V1_GROUPS, V1_MOUNTS)
    assert node.offers() == (3, 3072)


def test_a_container_sees_only_its_own_part_of_the_groups(node: Node) -> None:
    mounts = V2_MOUNT.replace("0:26 /", "0:26 /job")
    in_groups(node, {"step/memory.max": 1 << 30, "memory.max": 2 << 30}, mounts=mounts)
    assert node.offers() == (16, 1024)
    in_groups(node, {}, "0::/elsewhere", mounts)
    assert node.offers() == (16, 64 << 10)


@pytest.mark.parametrize(
    ("env", "values", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "8000"}, {}, (4, 8000)),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_CPU": "1000"}, {}, (4, 4000)),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "0"}, {}, (4, 64 << 10)),
        ({"SLURM_CPUS_ON_NODE": "99", "SLURM_MEM_PER_NODE": "9999999"}, {}, (16, 64 << 10)),
        ({"PBS_JOBID": "1", "NCPUS": "6"}, {}, (6, 64 << 10)),
        ({"PBS_JOBID": "1", "OMP_NUM_THREADS": "3"}, {}, (3, 64 << 10)),
        ({"OMP_NUM_THREADS": "3", "NCPUS": "3"}, {}, (16, 64 << 10)),
        ({"SLURM_CPUS_ON_NODE": "4(x2)"}, {}, (16, 64 << 10)),
        ({"SLURM_CPUS_ON_NODE": "8"}, {"per_node": 2}, (4, 32 << 10)),
        # bound to a part of their own
        ({"SLURM_CPUS_ON_NODE": "32"}, {"per_node": 2}, (16, 32 << 10)),
        ({}, {"allotted": ((4, 1, 1), (5, 7, 900), (6, 2, 2))}, (7, 900)),
        ({"SLURM_CPUS_ON_NODE": "4"}, {"allotted": ((9, 7, 0),)}, (7, 64 << 10)),
        ({"SLURM_CPUS_ON_NODE": "4"}, {"allotted": ((4, 7, 900),)}, (4, 64 << 10)),
        ({}, {"cores": 40, "memory_mib": 123}, (40, 123)),
        ({"SLURM_CPUS_ON_NODE": "8"}, {"share_memory": True}, (8, 16 << 10)),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_MEM_PER_NODE": "9000"}, {"share_memory": True}, (8, 9000)),
    ],
)
def test_what_a_scheduler_says(
    node: Node, env: Mapping[str, str], values: Mapping[str, Any], expected: tuple[int, int]
) -> None:
    assert node.offers(env, **values) == expected


@pytest.mark.parametrize(
    ("env", "limit", "expected"),
    [
        ({"PBS_JOBID": "1", "PBS_JOBDIR": "/home/u", "NCPUS": "4"}, "3072000", "4 3000"),
        ({"PBS_JOBID": "1", "PBS_JOBDIR": "/home/u", "NCPUS": "4"}, "unlimited", "4 8192"),
        ({"PBS_JOBID": "1", "PBS_JOBDIR": "/home/u", "NCPUS": "4"}, "99999999", "4 65536"),
        ({"SLURM_CPUS_ON_NODE": "4"}, "3072000", "4 8192"),
    ],
)
def test_memory_that_openpbs_tells_by_a_limit(node: Node, env: Mapping[str, str], limit: str, expected: str) -> None:
    commands = f'ulimit -m {limit}; measure; echo "$cores $heap"'
    assert node.says(commands, env, share_memory=True, reserve_mib=0, heap_share=1) == expected


def test_a_limit_of_a_group_is_not_shared_once_more(node: Node) -> None:
    in_groups(node, {"job/memory.max": 8 << 30, "job/cpu.max": "50000 100000"})
    assert node.offers({"SLURM_CPUS_ON_NODE": "8"}, share_memory=True) == (1, 8192)


def test_no_room_for_an_executor(node: Node) -> None:
    assert node.says("measure", executor_cores=17) == (
        "fail: no executor fits into the 16 cores and 32512 MiB that a worker has here"
    )
    assert node.says("measure", executor_mib=40000).startswith("fail: no executor fits")


# --- graphics processors ---


@pytest.mark.parametrize(
    ("env", "values", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "2,3"}, {}, 'CUDA_VISIBLE_DEVICES=2,3 2 "0","1"'),
        ({"CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b"}, {"per_node": 2, "first_rank": 4}, 'CUDA_VISIBLE_DEVICES=MIG-b 1 "0"'),
        ({"ROCR_VISIBLE_DEVICES": "0,1,2"}, {"per_node": 2, "first_rank": 1}, 'ROCR_VISIBLE_DEVICES=0 1 "0"'),
        ({"CUDA_VISIBLE_DEVICES": ""}, {}, "CUDA_VISIBLE_DEVICES= 0 "),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, {}, "CUDA_VISIBLE_DEVICES= 0 "),
        ({"SLURM_STEP_GPUS": "6,7"}, {}, 'CUDA_VISIBLE_DEVICES=6,7 2 "0","1"'),
        ({}, {}, 'CUDA_VISIBLE_DEVICES=0,1,2 3 "0","1","2"'),
        # each worker sees only its own
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_ON_NODE": "2"}, {"per_node": 2}, 'CUDA_VISIBLE_DEVICES=0 1 "0"'),
    ],
)
def test_graphics_processors(node: Node, env: Mapping[str, str], values: Mapping[str, Any], expected: str) -> None:
    smi = node.root / "nvidia-smi"
    smi.write_text('#!/bin/sh\n[ "$1" = --query-gpu=index ] && printf "0\\n1\\n2\\n"\n')
    smi.chmod(0o755)
    shown, number, addresses = expected.split(" ")
    variable = shown.partition("=")[0]
    said = node.says(f"scratch=.; take_gpus; echo {variable}=$(printenv {variable}) $gpus", env, gpus=True, **values)
    assert said == f"{shown} {number}"
    record = f'[{{"id":{{"componentName":"spark.worker","resourceName":"gpu"}},"addresses":[{addresses}]}}]\n'
    assert (node.root / "resources.json").read_text() == record


# --- the address ---


@pytest.mark.parametrize("ip", [IP, NO_IP], ids=["ip", "proc"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "10.1.2.3"),
        ({"interface": "eth*"}, "192.168.1.7"),
        ({"interface": "i[bc]?"}, "10.1.2.3"),
        ({"network": "10.1.0.0/16"}, "10.1.2.3"),
        ({"interface": "hsn0"}, "fail: no address of this node can be used for Spark: hsn0"),
        ({"network": "172.16.0.0/12"}, "fail: no address of this node can be used for Spark: 172.16.0.0/12"),
    ],
)
def test_the_address(node: Node, ip: str, values: Mapping[str, Any], expected: str) -> None:
    assert node.says(f'{ip}\nfind_address; echo "$address"', **values) == expected


def test_the_narrowest_route_without_ip(node: Node) -> None:
    assert node.says(f'{NO_IP}\nfind_address; echo "$address"', master_host="192.168.1.1") == "192.168.1.7"
    assert node.says(f'{NO_IP}\nfind_address; echo "$address"', master_host="8.8.8.8") == "192.168.1.7"


# --- directories ---


def test_a_variable_in_a_setting(node: Node) -> None:
    env = {"A": "x y", "B_2": "$A", "EMPTY": ""}
    for setting, expected in {"/$A/${B_2}z": "/x y/$Az", "$EMPTY/$A": "/x y", "/plain": "/plain", "/$": ""}.items():
        assert node.says(f"expanded '{setting}'", env) == expected
    assert node.says("expanded '/a/$UNSET/b' || echo no", env) == "no"
    assert node.says("expanded '/`id`/$(id)' || echo no", env) == "no"


def test_the_first_good_place(node: Node) -> None:
    for name, mode in {"closed": 0o500, "anybody": 0o777, "a,b": 0o700, "a:b": 0o700, "good": 0o1777}.items():
        (node.root / name).mkdir()
        (node.root / name).chmod(mode)
    ours = (f"{node.root}/{name}" for name in ("file", "anybody", "a,b", "a:b", "$NOT_SET", "good"))
    places = " ".join(f"'{place}'" for place in ("", "relative", "/none", *ours))
    made = node.says(f'make_scratch {places}; echo "$scratch $directories"').split()
    assert Path(made[0]).parent == node.root / "good"
    assert made[1] == made[0]
    assert {path.name for path in Path(made[0]).iterdir()} == {"local", "tmp", "work"}


def test_no_good_place(node: Node) -> None:
    assert node.says("make_scratch /none ''").startswith("fail: no directory for scratch space can be used")


def test_binds_that_this_node_has(node: Node) -> None:
    (node.root / "a *").mkdir()
    here, gone = node.root / "a *", node.root / "gone"
    for binds, expected in {
        f"{gone},{here},{here}:/x:ro,{gone}:{here}": f"{here},{here}:/x:ro",
        f"{here}": f"{here}",
        f"{gone}": "none",
        "": "none",
    }.items():
        env = {"APPTAINER_BIND": binds, "SINGULARITY_BIND": str(here)}
        look = "bind_what_is_here; printenv APPTAINER_BIND || echo none; printenv SINGULARITY_BIND"
        assert node.says(look, env, wholly_inside=True).splitlines() == [expected, str(here)]
    assert node.says("bind_what_is_here; printenv APPTAINER_BIND || echo none", wholly_inside=True) == "none"


# --- the end in words ---


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (1, "INFO a\nERROR b\nINFO c", "exit status 1: ERROR b"),
        (137, "1 INFO Worker: here", "signal SIGKILL (the kernel does this when memory runs out)"),
        (134, "a\033[1m\tb\n", "signal SIGABRT: a[1mb"),
        (255, "x" * 400, "exit status 255: " + "x" * 300),
        (1, "ERROR old\n1 ood-runtime: worker 5 on n: starting\nnew", "exit status 1: new"),
    ],
)
def test_an_end_in_words(node: Node, status: int, log: str, expected: str) -> None:
    (node.root / "log").write_text(log)
    assert node.says(f"log=log; explain {status}") == f"Spark ended with {expected}"

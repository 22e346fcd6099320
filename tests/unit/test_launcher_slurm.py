"""Slurm: the job is read from its variables, and one srun reaches all other nodes."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from ood_runtime import launchers, own_node
from ood_runtime.allocation import Allocation, Launch, Node
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.launchers.slurm import LAUNCHER
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB, MIB
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program

JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NODELIST": "node[01-03]",
    "SLURM_JOB_NUM_NODES": "3",
    "SLURM_JOB_CPUS_PER_NODE": "4(x2),8",
    "SLURM_MEM_PER_NODE": "4000",
    "SLURMD_NODENAME": "node01",
    "SLURM_SUBMIT_DIR": "/var/www/portal",
}
HET = {
    "SLURM_JOB_ID": "80",
    "SLURM_HET_SIZE": "3",
    "SLURM_JOB_NODELIST": "head",
    "SLURM_JOB_NODELIST_HET_GROUP_0": "head",
    "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_0": "2",
    "SLURM_MEM_PER_NODE_HET_GROUP_0": "2000",
    "SLURM_JOB_NODELIST_HET_GROUP_1": "big[1-2]",
    "SLURM_JOB_NUM_NODES_HET_GROUP_1": "2",
    "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_1": "16(x2)",
    "SLURM_MEM_PER_CPU_HET_GROUP_1": "1000",
    "SLURM_JOB_NODELIST_HET_GROUP_2": "gpu7",
    "SLURM_JOB_CPUS_PER_NODE_HET_GROUP_2": "8",
    "SLURM_GPUS_PER_NODE_HET_GROUP_2": "a100:2",
    "SLURMD_NODENAME": "head",
}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 processors and 64 GiB are for us, and the node is called like none of the job's."""
    on_a_node(monkeypatch, cpus=4)


def allocate(tmp_path: Path, env: Mapping[str, str]) -> Allocation:
    return LAUNCHER.allocation(env, tmp_path, Settings())


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Where srun is on PATH."""
    return {"PATH": with_program(tmp_path, "srun")}


def options(launch: Launch) -> list[dict[str, str]]:
    """The options of each component."""
    found: list[dict[str, str]] = [{}]
    for word in launch.argv[1:]:
        if word == ":":
            found.append({})
        elif word.startswith("--"):
            name, _, value = word.partition("=")
            found[-1][name] = value
    return found


def test_detected_by_its_number() -> None:
    assert launchers.choose(None, JOB) is LAUNCHER
    assert not LAUNCHER.detect({})
    assert not LAUNCHER.detect({"SLURM_JOB_ID": ""})
    assert not LAUNCHER.detect({"SLURM_CONF": "/etc/slurm/slurm.conf"})


def test_the_plug_in_of_slurm_that_sets_variables_of_pbs_is_no_second_scheduler() -> None:
    spank = {"PBS_JOBID": "77", "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBDIR": "/", "PBS_NODENUM": "0"}
    assert launchers.choose(None, {**JOB, **spank}) is LAUNCHER


def test_nodes_with_what_the_job_has_on_each(tmp_path: Path) -> None:
    given = allocate(tmp_path, JOB)
    assert given.nodes == tuple(Node(f"node0{i}", cpus, 4000 * MIB) for i, cpus in ((1, 4), (2, 4), (3, 8)))
    assert (given.launcher, given.job_id, given.ends_at, given.keeper) == ("slurm", "77", None, "slurmstepd")
    assert given.directory == tmp_path


def test_our_node_comes_first(tmp_path: Path) -> None:
    given = allocate(tmp_path, {**JOB, "SLURMD_NODENAME": "node03"})
    assert [node.host for node in given.nodes] == ["node03", "node01", "node02"]
    assert given.nodes[0].cpus == 4  # as many as this process may use, of 8


def test_our_node_by_its_host_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_node, "names", lambda env, *names: ["node02.cluster"])
    assert allocate(tmp_path, JOB).nodes[0].host == "node02"


def test_outside_of_the_allocation(tmp_path: Path) -> None:
    """The shell of salloc runs on the login node."""
    env = {name: value for name, value in JOB.items() if name != "SLURMD_NODENAME"}
    with pytest.raises(SettingsError, match=r"this machine, elsewhere, is none of the nodes of Slurm job 77") as caught:
        allocate(tmp_path, env)
    assert "srun" in caught.value.remedy


@pytest.mark.parametrize(
    ("memory", "others", "ours"),
    [
        ({"SLURM_MEM_PER_NODE": "4000"}, [4000 * MIB, 4000 * MIB], 4000 * MIB),
        ({"SLURM_MEM_PER_CPU": "500"}, [2000 * MIB, 4000 * MIB], 2000 * MIB),
        ({"SLURM_MEM_PER_NODE": "0"}, [64 * GIB, 64 * GIB], 64 * GIB),
        ({}, [64 * GIB, 64 * GIB], 64 * GIB),
        ({"SLURM_MEM_PER_NODE": "128000"}, [128000 * MIB, 128000 * MIB], 64 * GIB),
        ({"SLURM_MEM_PER_GPU": "1000", "SLURM_GPUS_PER_NODE": "3"}, [3000 * MIB, 3000 * MIB], 3000 * MIB),
    ],
)
def test_memory(tmp_path: Path, memory: dict[str, str], others: list[int], ours: int) -> None:
    env = {name: value for name, value in JOB.items() if name != "SLURM_MEM_PER_NODE"}
    given = allocate(tmp_path, {**env, **memory})
    assert [node.memory for node in given.nodes] == [ours, *others]


def test_without_a_count_of_processors(tmp_path: Path) -> None:
    env = {name: value for name, value in JOB.items() if name != "SLURM_JOB_CPUS_PER_NODE"}
    assert [node.cpus for node in allocate(tmp_path, env).nodes] == [4, 4, 4]


@pytest.mark.parametrize(
    ("variables", "gpus"),
    [
        ({}, [0, 0, 0]),
        ({"SLURM_GPUS_ON_NODE": "2"}, [2, 2, 2]),
        ({"SLURM_JOB_GPUS": "0,1,3"}, [3, 3, 3]),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, [2, 2, 2]),
        ({"SLURM_GPUS_PER_NODE": "a100:1,v100:1", "SLURM_GPUS_ON_NODE": "2"}, [2, 2, 2]),
        ({"SLURM_GPUS": "5", "SLURM_GPUS_ON_NODE": "2"}, [2, 1, 1]),
        ({"SLURM_GPUS": "a100:6", "SLURM_GPUS_ON_NODE": "2"}, [2, 2, 2]),
        ({"SLURM_GPUS_PER_TASK": "2", "SLURM_TASKS_PER_NODE": "1,2,1", "SLURM_GPUS_ON_NODE": "2"}, [2, 4, 2]),
    ],
)
def test_gpus(tmp_path: Path, variables: dict[str, str], gpus: list[int]) -> None:
    assert [node.gpus for node in allocate(tmp_path, {**JOB, **variables}).nodes] == gpus


def test_a_heterogeneous_job(tmp_path: Path) -> None:
    nodes = allocate(tmp_path, HET).nodes
    assert [(node.host, node.cpus, node.memory, node.gpus) for node in nodes] == [
        ("head", 2, 2000 * MIB, 0),
        ("big1", 16, 16000 * MIB, 0),
        ("big2", 16, 16000 * MIB, 0),
        ("gpu7", 8, 2000 * MIB, 2),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"SLURM_JOB_NODELIST": "node[01-"},
            r"SLURM_JOB_NODELIST of this Slurm job is 'node\[01-': not a list of nodes",
        ),
        ({"SLURM_JOB_NODELIST": ""}, "SLURM_JOB_NODELIST of this Slurm job is '': .* names no host"),
        ({"SLURM_JOB_NUM_NODES": "2"}, r"SLURM_JOB_NUM_NODES .* is '2': but SLURM_JOB_NODELIST .* has 3 nodes"),
        ({"SLURM_JOB_NUM_NODES": "two"}, "SLURM_JOB_NUM_NODES .* should be a whole number"),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2)"}, "SLURM_JOB_CPUS_PER_NODE .* is for 2 nodes, but the job has 3"),
        ({"SLURM_JOB_CPUS_PER_NODE": "four"}, "SLURM_JOB_CPUS_PER_NODE .* 'four' is no number"),
        ({"SLURM_MEM_PER_NODE": "4G"}, "SLURM_MEM_PER_NODE .* is '4G': it should be a whole number"),
        ({"SLURM_JOB_END_TIME": "soon"}, "SLURM_JOB_END_TIME .* should be a whole number"),
        ({"SLURM_GPUS_PER_NODE": "a100"}, "SLURM_GPUS_PER_NODE .* should be as 2 or a100:2"),
        ({"SLURM_HET_SIZE": "2"}, "SLURM_JOB_NODELIST_HET_GROUP_0 of this Slurm job is not set"),
        ({"SLURM_HET_SIZE": "0"}, "SLURM_HET_SIZE .* number of the job's components"),
    ],
)
def test_broken_variables_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        allocate(tmp_path, {**JOB, **change})
    assert "job script" in caught.value.remedy


def test_one_srun_for_all_nodes(tmp_path: Path, env: dict[str, str]) -> None:
    (launch,) = LAUNCHER.commands(allocate(tmp_path, JOB), SCRIPT, tasks(2, 2, [1, 2]), {**JOB, **env})
    assert launch.argv[0] == str(tmp_path / "srun")
    assert launch.ranks == (2, 3, 4, 5)
    (asked,) = options(launch)
    assert asked == {
        "--overlap": "",
        "--mem": "0",
        "--export": "ALL",
        "--no-kill": "",
        "--kill-on-bad-exit": "0",
        "--wait": "0",
        "--input": "none",
        "--chdir": "/",
        "--distribution": "block",
        "--cpu-bind": "none",
        "--mpi": "none",
        "--job-name": "spark-workers",
        "--disable-status": "",
        "--nodes": "2",
        "--nodelist": "node02,node03",
        "--ntasks": "4",
        "--ntasks-per-node": "2",
    }


def test_what_a_task_runs(tmp_path: Path, env: dict[str, str]) -> None:
    """The real shell makes a rank of the task's place in the step, whatever the script's path is."""
    script = tmp_path / 'it\'s $HOME\n; "worker".sh'
    script.write_text('echo "$# $1"')
    (launch,) = LAUNCHER.commands(allocate(tmp_path, JOB), script, tasks(3, 1, [1, 2]), {**JOB, **env})
    program = launch.argv[launch.argv.index("/bin/sh") :]
    done = subprocess.run(program, env={"SLURM_PROCID": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout == "1 4\n"


def test_more_tasks_than_processors(tmp_path: Path, env: dict[str, str]) -> None:
    given = allocate(tmp_path, JOB)
    (few,) = LAUNCHER.commands(given, SCRIPT, tasks(0, 4, [1, 2]), {**JOB, **env})
    (many,) = LAUNCHER.commands(given, SCRIPT, tasks(0, 5, [1, 2]), {**JOB, **env})
    assert "--overcommit" not in few.argv
    assert "--overcommit" in many.argv


def test_one_component_of_the_step_for_each_of_the_job(tmp_path: Path, env: dict[str, str]) -> None:
    given = allocate(tmp_path, HET)
    (launch,) = LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1, 2, 3]), {**HET, **env})
    big, gpu = options(launch)
    assert (big["--het-group"], big["--nodelist"], big["--ntasks"]) == ("1", "big1,big2", "2")
    assert (gpu["--het-group"], gpu["--nodelist"], gpu["--ntasks"]) == ("2", "gpu7", "1")
    assert big["--overlap"] == gpu["--overlap"] == ""
    assert launch.argv.count(str(SCRIPT)) == 2


@pytest.mark.parametrize(
    ("variables", "gres"),
    [
        ({}, None),
        ({"SLURM_GPUS_PER_NODE": "2", "SLURM_GPUS_ON_NODE": "2"}, None),
        ({"SLURM_GPUS": "6", "SLURM_GPUS_ON_NODE": "2"}, "gpu:2"),
        ({"SLURM_GPUS": "1", "SLURM_GPUS_ON_NODE": "1"}, "none"),
        ({"SLURM_TRES_PER_TASK": "gres/gpu:2", "SLURM_GPUS_ON_NODE": "2"}, "gpu:2"),
    ],
)
def test_a_part_of_the_nodes_is_not_asked_for_all_gpus(
    tmp_path: Path, env: dict[str, str], variables: dict[str, str], gres: str | None
) -> None:
    job = {**JOB, **variables}
    (launch,) = LAUNCHER.commands(allocate(tmp_path, job), SCRIPT, tasks(1, 1, [1, 2]), {**job, **env})
    assert options(launch)[0].get("--gres") == gres


def test_variables_that_would_change_the_step_are_removed(tmp_path: Path, env: dict[str, str]) -> None:
    in_the_way = {
        "SLURM_EXPORT_ENV": "NONE",
        "SLURM_CPUS_PER_TASK": "4",
        "SRUN_CPUS_PER_TASK": "4",
        "SLURM_TRES_PER_TASK": "cpu=4",
        "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
        "SLURM_CPU_BIND_LIST": "0x1",
        "SLURM_NTASKS_PER_GPU": "1",
        "SLURM_HINT": "nomultithread",
        "SLURM_DISTRIBUTION": "cyclic",
        "SLURM_TIMELIMIT": "5",
        "SLURM_DEBUG": "1",
        "SLURM_NTASKS_HET_GROUP_1": "1",
    }
    stay = {"SLURM_JOB_ACCOUNT": "a", "SLURM_CONF": "/etc/slurm.conf", "SLURM_CLUSTERS": "c", "SLURM_HINTS": "x"}
    job = {**JOB, **in_the_way, **stay}
    (launch,) = LAUNCHER.commands(allocate(tmp_path, JOB), SCRIPT, tasks(1, 1, [1]), {**job, **env})
    assert launch.environment == dict.fromkeys(in_the_way)


def test_no_other_node(tmp_path: Path) -> None:
    assert LAUNCHER.commands(allocate(tmp_path, JOB), SCRIPT, (), JOB) == ()


def test_without_srun(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"srun, which .* is not on PATH \(/nowhere\)") as caught:
        LAUNCHER.commands(allocate(tmp_path, JOB), SCRIPT, tasks(1, 1, [1]), {**JOB, "PATH": "/nowhere"})
    assert "Slurm module" in caught.value.remedy


@pytest.mark.parametrize(
    ("submitted", "environment"),
    [
        ({"SLURM_EXPORT_ENV": "NONE"}, {"SLURM_OVERLAP": "1", "SLURM_EXPORT_ENV": "ALL"}),
        ({"SLURM_EXPORT_ENV": "PATH"}, {"SLURM_OVERLAP": "1"}),
        ({}, {"SLURM_OVERLAP": "1"}),
    ],
)
def test_srun_works_in_a_notebook(submitted: dict[str, str], environment: dict[str, str], tmp_path: Path) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_CPUS_PER_NODE": "4"}
    assert allocate(tmp_path, {**job, "SLURMD_NODENAME": "node1", **submitted}).environment == environment

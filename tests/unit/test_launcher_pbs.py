"""OpenPBS: nodes from PBS_NODEFILE, one pbsdsh for each rank."""

import resource
from pathlib import Path

import pytest

from ood_runtime import launchers
from ood_runtime.allocation import Allocation
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.launchers import pbs
from ood_runtime.launchers.pbs import LAUNCHER
from ood_runtime.settings import Settings
from ood_runtime.settings.sizes import GIB, MIB
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A job of OpenPBS 23.06 on three hosts, as its script finds it."""
    on_a_node(monkeypatch)
    monkeypatch.setattr(pbs, "_CONFIGURATION", str(tmp_path / "pbs.conf"))
    monkeypatch.setattr(pbs, "_INSTALLED", str(tmp_path / "not installed"))
    (tmp_path / "nodes").write_text("n1.cluster\nn2.cluster\nn2.cluster\nn3.cluster\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "submitted").mkdir()
    return {
        "PBS_ENVIRONMENT": "PBS_BATCH",
        "PBS_JOBID": "12.server",
        "PBS_JOBCOOKIE": "01",
        "PBS_NODENUM": "0",
        "PBS_TASKNUM": "1",
        "PBS_JOBDIR": str(tmp_path / "home"),
        "PBS_NODEFILE": str(tmp_path / "nodes"),
        "PBS_O_WORKDIR": str(tmp_path / "submitted"),
        "HOME": str(tmp_path / "home"),
        "NCPUS": "4",
        "PATH": "/nowhere",
    }


def allocate(job: dict[str, str], directory: Path) -> Allocation:
    return LAUNCHER.allocation(job, directory, Settings())


def test_detected(job: dict[str, str]) -> None:
    assert launchers.choose(None, job) is LAUNCHER


def test_nodes(job: dict[str, str], tmp_path: Path) -> None:
    given = allocate(job, tmp_path)
    assert [(node.host, node.cpus) for node in given.nodes] == [("n1.cluster", 4), ("n2.cluster", 4), ("n3.cluster", 4)]
    assert (given.launcher, given.job_id, given.ends_at) == ("pbs", "12.server", None)


def test_a_part_of_a_node_is_a_part_of_its_memory(job: dict[str, str], tmp_path: Path) -> None:
    """PBS tells no memory that was not asked for: 4 of 64 processors, of 64 GiB."""
    assert {node.memory for node in allocate(job, tmp_path).nodes} == {4 * GIB}
    assert {node.memory for node in allocate({**job, "NCPUS": "64"}, tmp_path).nodes} == {64 * GIB}


def test_memory_that_was_asked_for(job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit that pbs_mom sets, which is not shared once more, on a machine that may have less."""
    for given, expected in ((900 * MIB, 900 * MIB), (99 * GIB, 64 * GIB)):
        monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_RSS: (given, given)}.get)
        assert {node.memory for node in allocate(job, tmp_path).nodes} == {expected}


def test_a_line_for_each_process(job: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("n1\n" * 8 + "n2\n" * 2)
    assert [node.cpus for node in allocate({**job, "NCPUS": "2"}, tmp_path).nodes] == [8, 2]


def test_other_hosts_may_have_other_chunks(job: dict[str, str], tmp_path: Path) -> None:
    """As ours is what is assumed; what a worker finds on its own host counts, where lines do not say more."""
    (tmp_path / "nodes").write_text("n1\nn2\n" + "n3\n" * 6)
    nodes = allocate(job, tmp_path).nodes
    assert [(node.cpus, node.cpus_told) for node in nodes[1:]] == [(4, False), (6, True)]
    (tmp_path / "nodes").write_text("n1\nn2\n")
    assert [node.cpus_told for node in allocate({**job, "NCPUS": "1"}, tmp_path).nodes[1:]] == [False]


def test_our_node_comes_first(job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node(monkeypatch, "n3")
    assert [node.host for node in allocate(job, tmp_path).nodes] == ["n3.cluster", "n1.cluster", "n2.cluster"]


def test_our_node_by_its_number(job: dict[str, str], tmp_path: Path) -> None:
    assert allocate({**job, "PBS_NODENUM": "1"}, tmp_path).nodes[0].host == "n2.cluster"


def test_gpus(job: dict[str, str], tmp_path: Path) -> None:
    assert [node.gpus for node in allocate({**job, "CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}, tmp_path).nodes] == [2, 2, 2]
    assert [node.gpus for node in allocate({**job, "CUDA_VISIBLE_DEVICES": ""}, tmp_path).nodes] == [0, 0, 0]


def test_the_directory(job: dict[str, str], tmp_path: Path) -> None:
    """PBS starts a job in the home directory; who went elsewhere meant that."""
    home, submitted = tmp_path / "home", tmp_path / "submitted"
    assert allocate(job, home).directory == submitted
    assert allocate(job, tmp_path).directory == tmp_path
    submitted.rmdir()
    assert allocate(job, home).directory == home


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PBS_NODEFILE": ""}, "PBS_NODEFILE of this PBS job is not set"),
        ({"PBS_NODEFILE": "/nowhere/nodes"}, "PBS_NODEFILE of this PBS job is '/nowhere/nodes', which cannot be read"),
        ({"PBS_NODEFILE": "/dev/null"}, "PBS_NODEFILE of this PBS job is '/dev/null', which names no host"),
        ({"PBS_NODENUM": "3"}, "PBS_NODENUM of this PBS job is '3', but the job has 3 nodes"),
        ({"PBS_NODENUM": "x"}, "PBS_NODENUM of this PBS job is 'x'"),
    ],
)
def test_broken_variables_are_named(job: dict[str, str], tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        allocate({**job, **change}, tmp_path)
    assert caught.value.remedy


def test_one_pbsdsh_for_each_rank(job: dict[str, str], tmp_path: Path) -> None:
    job["PATH"] = with_program(tmp_path / "bin", "pbsdsh")
    launches = LAUNCHER.commands(allocate(job, tmp_path), SCRIPT, tasks(2, 2, [1, 2]), job)
    program = f"{tmp_path}/bin/pbsdsh"
    assert [launch.argv for launch in launches] == [
        (program, "-n", line, "--", "/bin/sh", str(SCRIPT), rank)
        for line, rank in (("1", "2"), ("1", "3"), ("3", "4"), ("3", "5"))
    ]
    assert [launch.ranks for launch in launches] == [(2,), (3,), (4,), (5,)]
    assert not any(launch.environment for launch in launches)


def test_lines_when_our_node_is_not_the_first(
    job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_node(monkeypatch, "n2")
    job["PATH"] = with_program(tmp_path / "bin", "pbsdsh")
    launches = LAUNCHER.commands(allocate(job, tmp_path), SCRIPT, tasks(1, 1, [1, 2]), job)
    assert [launch.argv[2] for launch in launches] == ["0", "3"]


@pytest.mark.parametrize("way", ["variable", "file", "named file"])
def test_pbsdsh_that_is_not_on_path(job: dict[str, str], tmp_path: Path, way: str) -> None:
    with_program(tmp_path / "pbs" / "bin", "pbsdsh")
    if way == "variable":
        job["PBS_EXEC"] = str(tmp_path / "pbs")
    else:
        file = tmp_path / ("pbs.conf" if way == "file" else "other.conf")
        file.write_text(f"PBS_SERVER=s\n# PBS_EXEC=/other\nPBS_EXEC={tmp_path}/pbs\nPBS_HOME=/var/spool/pbs\n")
        if way == "named file":
            job["PBS_CONF_FILE"] = str(file)
    (launch,) = LAUNCHER.commands(allocate(job, tmp_path), SCRIPT, tasks(1, 1, [1]), job)
    assert launch.argv[0] == f"{tmp_path}/pbs/bin/pbsdsh"


def test_without_pbsdsh(job: dict[str, str], tmp_path: Path) -> None:
    job["PBS_EXEC"] = "/nowhere/pbs"
    with pytest.raises(MissingError, match=r"pbsdsh, which .* not on PATH \(/nowhere\), nor in /nowhere/pbs/bin"):
        LAUNCHER.commands(allocate(job, tmp_path), SCRIPT, tasks(1, 1, [1]), job)
    assert LAUNCHER.commands(allocate(job, tmp_path), SCRIPT, (), job) == ()


def test_a_node_file_that_changed(job: dict[str, str], tmp_path: Path) -> None:
    job["PATH"] = with_program(tmp_path / "bin", "pbsdsh")
    given = allocate(job, tmp_path)
    (tmp_path / "nodes").write_text("n1.cluster\n")
    with pytest.raises(SettingsError, match=r"no line for n2\.cluster any more"):
        LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1]), job)

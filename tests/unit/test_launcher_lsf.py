"""LSF: slots from LSB_MCPU_HOSTS, one blaunch for each rank."""

from pathlib import Path

import pytest

from ood_runtime import launchers
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.launchers.lsf import LAUNCHER
from ood_runtime.settings import Settings
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program

JOB = {"LSB_JOBID": "12", "LSB_MCPU_HOSTS": "n1 4 n2 8 ", "LSB_HOSTS": "n1 n1 n1 n1", "PATH": "/nowhere"}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node is called like none of the job's."""
    on_a_node(monkeypatch)


def test_detected() -> None:
    assert launchers.choose(None, JOB) is LAUNCHER
    assert not LAUNCHER.detect({"LSF_BINDIR": "/opt/lsf/bin", "LSF_ENVDIR": "/etc"})  # of profile.lsf


def test_nodes(tmp_path: Path) -> None:
    given = LAUNCHER.allocation({**JOB, "CUDA_VISIBLE_DEVICES": "0,1"}, tmp_path, Settings())
    assert [(node.host, node.cpus, node.gpus) for node in given.nodes] == [("n1", 4, 2), ("n2", 8, 2)]
    assert (given.launcher, given.job_id, given.directory) == ("lsf", "12", tmp_path)


def test_our_node_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node(monkeypatch, "n2.cluster")
    assert [node.host for node in LAUNCHER.allocation(JOB, tmp_path, Settings()).nodes] == ["n2", "n1"]


def test_other_lists(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("n1\nn1\nn3\n")
    listed = {"LSB_JOBID": "12", "LSB_HOSTS": "n1 n2 n2"}
    filed = {**listed, "LSB_DJOB_HOSTFILE": str(tmp_path / "hosts")}
    assert [node.host for node in LAUNCHER.allocation(filed, tmp_path, Settings()).nodes] == ["n1", "n3"]
    assert [node.cpus for node in LAUNCHER.allocation(listed, tmp_path, Settings()).nodes] == [1, 2]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({}, "none of LSB_MCPU_HOSTS, LSB_DJOB_HOSTFILE and LSB_HOSTS of this LSF job names a host"),
        ({"LSB_MCPU_HOSTS": "n1 4 n2"}, "LSB_MCPU_HOSTS of this LSF job is 'n1 4 n2': it should be hosts and numbers"),
        ({"LSB_MCPU_HOSTS": "n1 n2"}, "LSB_MCPU_HOSTS of this LSF job is 'n1 n2'"),
        ({"LSB_DJOB_HOSTFILE": "/nowhere"}, "LSB_DJOB_HOSTFILE of this LSF job is '/nowhere', which cannot be read"),
    ],
)
def test_broken_variables_are_named(tmp_path: Path, job: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        LAUNCHER.allocation({"LSB_JOBID": "12", **job}, tmp_path, Settings())
    assert "LSF variables" in caught.value.remedy


def test_one_blaunch_for_each_rank(tmp_path: Path) -> None:
    job = {**JOB, "LSF_BINDIR": with_program(tmp_path / "lsf", "blaunch")}
    launches = LAUNCHER.commands(LAUNCHER.allocation(job, tmp_path, Settings()), SCRIPT, tasks(2, 2, [1]), job)
    program = f"{tmp_path}/lsf/blaunch"
    assert [(launch.argv, launch.ranks) for launch in launches] == [
        ((program, "-n", "-no-shell", "n2", "/bin/sh", str(SCRIPT), str(rank)), (rank,)) for rank in (2, 3)
    ]


def test_without_blaunch(tmp_path: Path) -> None:
    given = LAUNCHER.allocation(JOB, tmp_path, Settings())
    with pytest.raises(MissingError, match=r"blaunch, which .* is not on PATH \(/nowhere\)"):
        LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1]), JOB)
    assert LAUNCHER.commands(given, SCRIPT, (), JOB) == ()

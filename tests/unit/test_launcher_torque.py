"""Torque: told from OpenPBS, with which it shares most."""

from pathlib import Path

import pytest

from ood_runtime import launchers, own_node
from ood_runtime.launchers.torque import LAUNCHER
from ood_runtime.settings import Settings
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program

BOTH = {"PBS_JOBID": "12.server", "PBS_NODEFILE": "/nodes", "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_NODENUM": "0"}
TORQUE = {"PBS_VNODENUM": "0", "PBS_NUM_NODES": "2", "PBS_NUM_PPN": "4", "PBS_NP": "8", "PBS_VERSION": "TORQUE-6.1.3"}
OPENPBS = {"PBS_JOBDIR": "/home/u", "NCPUS": "4", "OMP_NUM_THREADS": "4"}


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        (TORQUE, "torque"),
        (OPENPBS, "pbs"),
        ({}, "pbs"),
        ({"PBS_VNODENUM": "0"}, "torque"),  # Torque 2.x has no more than that
        ({"PBS_NUM_NODES": "2"}, "torque"),
        ({**OPENPBS, "PBS_NUM_NODES": "2", "PBS_NP": "8"}, "pbs"),  # set by the site, for old scripts
        ({**TORQUE, "NCPUS": "4"}, "torque"),  # exported by the user
    ],
)
def test_torque_and_openpbs_are_told_apart(variables: dict[str, str], name: str) -> None:
    assert launchers.choose(None, {**BOTH, **variables}).name == name


def test_variables_outside_of_a_job() -> None:
    assert launchers.choose(None, {"PBS_VERSION": "TORQUE-6.1.3", "PBS_DEFAULT": "server"}).name == "local"


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A job on two hosts with 4 and 2 processors."""
    on_a_node(monkeypatch)
    (tmp_path / "nodes").write_text("n1\n" * 4 + "n2\n" * 2)
    return {**BOTH, **TORQUE, "PBS_NODEFILE": str(tmp_path / "nodes"), "PATH": with_program(tmp_path / "bin", "pbsdsh")}


def test_nodes(job: dict[str, str], tmp_path: Path) -> None:
    given = LAUNCHER.allocation(job, tmp_path, Settings())
    assert [(node.host, node.cpus, node.gpus) for node in given.nodes] == [("n1", 4, 0), ("n2", 2, 0)]
    assert (given.launcher, given.job_id) == ("torque", "12.server")


def test_gpus(job: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "gpus").write_text("n1.cluster-gpu0\nn2.cluster-gpu0\nn2.cluster-gpu1\n")
    job["PBS_GPUFILE"] = str(tmp_path / "gpus")
    assert [node.gpus for node in LAUNCHER.allocation(job, tmp_path, Settings()).nodes] == [1, 2]
    (tmp_path / "gpus").write_text("")
    job["CUDA_VISIBLE_DEVICES"] = "0"
    assert [node.gpus for node in LAUNCHER.allocation(job, tmp_path, Settings()).nodes] == [1, 1]


def test_the_end_of_the_wall_time(job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_node, "script_began", lambda: 1790000000.0)
    assert LAUNCHER.allocation({**job, "PBS_WALLTIME": "3600"}, tmp_path, Settings()).ends_at == 1790003600.0
    for unknown in ({}, {"PBS_WALLTIME": "0"}, {"PBS_WALLTIME": "1:00:00"}):
        assert LAUNCHER.allocation({**job, **unknown}, tmp_path, Settings()).ends_at is None


def test_one_pbsdsh_for_each_rank(job: dict[str, str], tmp_path: Path) -> None:
    given = LAUNCHER.allocation(job, tmp_path, Settings())
    launches = LAUNCHER.commands(given, SCRIPT, tasks(2, 2, [1]), job)
    program = f"{tmp_path}/bin/pbsdsh"
    assert [launch.argv for launch in launches] == [
        (program, "-n", "4", "--", "/bin/sh", str(SCRIPT), rank) for rank in ("2", "3")
    ]
    assert "" not in launches[0].argv  # which Torque would take for the end of the arguments
    assert LAUNCHER.commands(given, SCRIPT, (), job) == ()

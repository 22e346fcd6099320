"""Grid Engine: slots from PE_HOSTFILE, qrsh -inherit for each rank or node."""

import subprocess
from pathlib import Path

import pytest

from ood_runtime import launchers
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.launchers.gridengine import LAUNCHER
from ood_runtime.settings import Settings
from tests.unit.launcher_jobs import SCRIPT, on_a_node, tasks, with_program


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A job with a parallel environment on two hosts, one of which has two queues."""
    on_a_node(monkeypatch)
    (tmp_path / "hosts").write_text(
        "n1.cluster 4 all.q@n1.cluster UNDEFINED\nn2.cluster 1 all.q@n2.cluster UNDEFINED\n\nn2.cluster 1 q@n2 <NULL>\n"
    )
    return {
        "JOB_ID": "12",
        "SGE_TASK_ID": "undefined",
        "PE_HOSTFILE": str(tmp_path / "hosts"),
        "NSLOTS": "6",
        "HOSTNAME": "n1.cluster",
        "PATH": "/nowhere",
    }


def test_detected(job: dict[str, str]) -> None:
    assert launchers.choose(None, job) is LAUNCHER
    assert not LAUNCHER.detect({"JOB_ID": "12"})  # others number jobs too
    assert not LAUNCHER.detect({"SGE_ROOT": "/opt/sge", "SGE_CELL": "default"})  # of settings.sh


def test_nodes(job: dict[str, str], tmp_path: Path) -> None:
    given = LAUNCHER.allocation(job, tmp_path, Settings())
    assert [(node.host, node.cpus) for node in given.nodes] == [("n1.cluster", 4), ("n2.cluster", 2)]
    assert (given.launcher, given.job_id) == ("gridengine", "12")


def test_our_node_comes_first(job: dict[str, str], tmp_path: Path) -> None:
    nodes = LAUNCHER.allocation({**job, "HOSTNAME": "n2"}, tmp_path, Settings()).nodes
    assert [node.host for node in nodes] == ["n2.cluster", "n1.cluster"]


def test_a_job_without_a_parallel_environment(job: dict[str, str], tmp_path: Path) -> None:
    del job["PE_HOSTFILE"], job["HOSTNAME"]
    job["NSLOTS"] = "1"
    (node,) = LAUNCHER.allocation(job, tmp_path, Settings()).nodes
    assert (node.host, node.cpus) == ("elsewhere", 1)


def test_the_directory(job: dict[str, str], tmp_path: Path) -> None:
    job |= {"HOME": str(tmp_path), "SGE_O_WORKDIR": str(tmp_path / "submitted")}
    (tmp_path / "submitted").mkdir()
    assert LAUNCHER.allocation(job, tmp_path, Settings()).directory == tmp_path / "submitted"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "PE_HOSTFILE of this Grid Engine job is .*hosts', which cannot be read"),
        ("", "PE_HOSTFILE of this Grid Engine job is .*hosts', which names no host"),
        ("n1 four all.q UNDEFINED\n", "cannot be read: invalid literal"),
        ("n1\n", "cannot be read"),
    ],
)
def test_a_broken_list_is_named(job: dict[str, str], tmp_path: Path, content: str | None, message: str) -> None:
    (tmp_path / "hosts").unlink() if content is None else (tmp_path / "hosts").write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        LAUNCHER.allocation(job, tmp_path, Settings())
    assert caught.value.remedy


def test_one_qrsh_for_each_rank(job: dict[str, str], tmp_path: Path) -> None:
    job |= {"SGE_ROOT": str(tmp_path), "SGE_ARCH": "lx-amd64"}
    with_program(tmp_path / "bin" / "lx-amd64", "qrsh")
    launches = LAUNCHER.commands(LAUNCHER.allocation(job, tmp_path, Settings()), SCRIPT, tasks(2, 2, [1]), job)
    start = (f"{tmp_path}/bin/lx-amd64/qrsh", "-inherit", "-nostdin", "-noshell", "n2.cluster")
    assert [(launch.argv, launch.ranks) for launch in launches] == [
        ((*start, "/bin/sh", str(SCRIPT), str(rank)), (rank,)) for rank in (2, 3)
    ]


def test_more_ranks_than_slots(job: dict[str, str], tmp_path: Path) -> None:
    """The host takes two tasks: one of them runs all three."""
    job["SGE_BINARY_PATH"] = with_program(tmp_path / "bin", "qrsh")
    script = tmp_path / "it's $HOME\n.sh"
    script.write_text('sleep 0.1; echo "rank $1 of $#"')
    (launch,) = LAUNCHER.commands(LAUNCHER.allocation(job, tmp_path, Settings()), script, tasks(4, 3, [1]), job)
    assert launch.ranks == (4, 5, 6)
    program = launch.argv[launch.argv.index("/bin/sh") :]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["rank 4 of 1", "rank 5 of 1", "rank 6 of 1"]


def test_without_qrsh(job: dict[str, str], tmp_path: Path) -> None:
    given = LAUNCHER.allocation(job, tmp_path, Settings())
    with pytest.raises(MissingError, match=r"qrsh, which .* is not on PATH"):
        LAUNCHER.commands(given, SCRIPT, tasks(1, 1, [1]), job)
    assert LAUNCHER.commands(given, SCRIPT, (), job) == ()

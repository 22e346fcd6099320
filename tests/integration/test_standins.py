"""The launchers that cannot be tested with the real thing, against stand-ins that do the worst of what was measured."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ood_runtime import launchers
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.settings import Settings
from ood_runtime.settings.model import Ssh
from tests.standins import jobs
from tests.standins.jobs import Job

HOSTS = ("node1", "node1", "node2", "node2", "node3", "node3")
KINDS = {
    "openpbs": ("pbs", {"pbsdsh": "pbsdsh_openpbs"}),
    "torque": ("torque", {"pbsdsh": "pbsdsh_torque"}),
    "lsf": ("lsf", {"blaunch": "blaunch"}),
    "gridengine": ("gridengine", {"qrsh": "qrsh"}),
    "ssh": ("ssh", {"ssh": "ssh"}),
}
# A script as the session's own: it sets what it needs, and its log is its own.
SCRIPT = """\
#!/bin/sh
exec > "{place}/log.$1" 2>&1 < /dev/null
echo "rank $1 of $#"
echo "$PWD"; umask; env
trap 'echo terminated; exit 143' TERM
trap 'echo hung up; exit 129' HUP
touch "{place}/up.$1"
[ -e "{place}/stay" ] || exit "$1"
while :; do sleep 0.05; done
"""
pytestmark = pytest.mark.integration


@pytest.fixture
def place(short_tmp: Path) -> Path:
    """A session directory with a bad name."""
    path = short_tmp / 'it\'s a $HOME\nof "worst" names'
    path.mkdir()
    return path


def write_script(place: Path) -> Path:
    script = place / "worker.sh"
    quoted = str(place).replace("$", "\\$").replace('"', '\\"')
    script.write_text(SCRIPT.replace("{place}", quoted))
    return script


def launch(job: Job, kind: str, place: Path, per_node: int = 1) -> tuple[Allocation, tuple[Launch, ...]]:
    """What the launcher makes of two other nodes."""
    launcher = launchers.choose(None if kind != "ssh" else "ssh", job.environment)
    assert launcher.name == KINDS[kind][0]
    settings = Settings(ssh=Ssh(hosts=["node2", "node3"]))
    allocation = launcher.allocation(job.environment, place, settings)
    assert len(allocation.nodes) == 3
    ranks = enumerate(node for node in (1, 2) for _ in range(per_node))
    tasks = [Task(rank + per_node, node) for rank, node in ranks]
    return allocation, launcher.commands(allocation, write_script(place), tasks, job.environment)


def start(job: Job, launches: Sequence[Launch]) -> list["subprocess.Popen[str]"]:
    """As a supervisor does it: with its own variables, in its own directory."""
    started = []
    for item in launches:
        env = {**job.environment, "SECRET_OF_THE_JOB": "x"}
        for name, value in item.environment.items():
            env.pop(name, None) if value is None else env.update({name: value})
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(item.argv, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        )
    return started


def wait_for(look: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def up(place: Path, count: int) -> Callable[[], bool]:
    return lambda: len(list(place.glob("up.*"))) == count


@pytest.mark.parametrize("per_node", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_runs_once_on_its_node(kind: str, per_node: int, place: Path, short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", kind, HOSTS, KINDS[kind][1]) as job:
        _, launches = launch(job, kind, place, per_node)
        assert [rank for item in launches for rank in item.ranks] == list(range(per_node, 3 * per_node))
        for process in start(job, launches):
            output = process.communicate(timeout=20)
            assert "usage" not in "".join(output).lower()
        for rank in range(per_node, 3 * per_node):
            log = (place / f"log.{rank}").read_text()
            assert log.startswith(f"rank {rank} of 1\n{job.directory / 'home'}\n")
            assert "SECRET_OF_THE_JOB" not in log
        assert sorted(path.name for path in place.glob("up.*")) == sorted(
            f"up.{r}" for r in range(per_node, 3 * per_node)
        )


@pytest.mark.parametrize("kind", ["openpbs", "torque"])
def test_the_line_of_a_node_leads_to_that_node(kind: str, place: Path, short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", kind, HOSTS, KINDS[kind][1]) as job:
        _, launches = launch(job, kind, place)
        for process in start(job, launches):
            output = process.communicate(timeout=20)
            assert process.returncode == 0  # whatever the task returned,
            assert "exit status" in "".join(output)  # of which it only speaks
        for rank in (1, 2):
            assert f"PBS_NODENUM={rank}\n" in (place / f"log.{rank}").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_to_the_launcher_ends_its_worker(kind: str, place: Path, short_tmp: Path) -> None:
    (place / "stay").touch()
    with jobs.job(short_tmp / "job", kind, HOSTS, KINDS[kind][1]) as job:
        processes = start(job, launch(job, kind, place)[1])
        wait_for(up(place, 2))
        for process in processes:
            process.terminate()
            process.communicate(timeout=20)
        wait_for(lambda: not _scripts(place))


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_job_ends_the_workers(kind: str, place: Path, short_tmp: Path) -> None:
    (place / "stay").touch()
    with jobs.job(short_tmp / "job", kind, HOSTS, KINDS[kind][1]) as job:
        processes = start(job, launch(job, kind, place)[1])
        wait_for(up(place, 2))
        job.end()
        wait_for(lambda: not _scripts(place))
        for process in processes:
            process.kill()
            process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("kind", "stays"), [("openpbs", True), ("torque", True), ("gridengine", False), ("ssh", False)]
)
def test_a_launcher_that_is_killed(kind: str, stays: bool, place: Path, short_tmp: Path) -> None:
    """pbsdsh cannot end its task then: the script has to watch the master itself."""
    (place / "stay").touch()
    with jobs.job(short_tmp / "job", kind, HOSTS, KINDS[kind][1]) as job:
        processes = start(job, launch(job, kind, place)[1])
        wait_for(up(place, 2))
        for process in processes:
            process.kill()
            process.communicate(timeout=20)
        if stays:
            time.sleep(0.3)
            assert len(_scripts(place)) == 2
        else:
            wait_for(lambda: not _scripts(place))


def _scripts(place: Path) -> list[int]:
    """The shells that run the script, wherever they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"/bin/sh" and os.fsencode(place / "worker.sh") in words:
            found.append(int(path.parent.name))
    return found


# --- what the stand-ins refuse and lose ---


def run(job: Job, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**job.environment, **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=20)


def test_pbsdsh_of_openpbs(short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", "openpbs", HOSTS, KINDS["openpbs"][1]) as job:
        assert run(job, "pbsdsh", "-n", "1", "sh", "-c", "true").returncode == 1  # -c is taken for its own
        assert run(job, "pbsdsh", "-u", "--", "true").returncode == 1
        assert run(job, "pbsdsh", "-h", "node2", "--", "true").returncode == 1
        assert run(job, "pbsdsh", "-h", "node2", "--", "true", STANDIN_VERSION="main").returncode == 0
        assert run(job, "pbsdsh", "-n", "1", "-c", "1", "--", "true").returncode == 1
        assert run(job, "env", "-u", "PBS_JOBCOOKIE", "pbsdsh", "--", "true").returncode == 1
        wrapped = run(
            job, "pbsdsh", "-n", "8", "--", "sh", "-c", 'echo "$0:$1:$PBS_NODENUM:$PBS_TASKNUM"; umask', "", "b c"
        )
        assert (wrapped.returncode, wrapped.stdout) == (0, "")
        assert job.printed() == ":b c:1:20000002\n0077\n"
        assert run(job, "pbsdsh", "-n", "0", "--", "no-such-program").stdout.endswith("exit status 254\n")
        killed = run(job, "pbsdsh", "-n", "0", "--", "sh", "-c", "kill -9 $$")
        assert killed.returncode == 0
        assert killed.stdout.endswith("/pbsdsh: task 0x00000000 exit status 265\n")


def test_pbsdsh_of_openpbs_loses_signals_of_remote_tasks(short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", "openpbs", HOSTS, KINDS["openpbs"][1]) as job:
        script = "trap 'echo heard $PBS_NODENUM; exit' TERM; echo up; while :; do sleep 0.05; done"
        with subprocess.Popen(["pbsdsh", "-c", "4", "--", "sh", "-c", script], env=job.environment) as process:
            wait_for(lambda: job.printed().count("up") == 4)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 1
        wait_for(lambda: job.printed().count("heard 0") == 2)
        assert "heard 1" not in job.printed()


def test_pbsdsh_of_torque(short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", "torque", HOSTS, KINDS["torque"][1]) as job:
        beyond = run(job, "pbsdsh", "-n", "6", "--", "true")
        assert (beyond.returncode, beyond.stderr) == (1, "pbsdsh(): only 6 nodes available\n")
        shown = 'echo "$#:$PBS_VNODENUM:$PBS_TASKNUM:$LOGNAME:$X"'
        assert run(job, "pbsdsh", "-n", "3", "sh", "-c", shown, "0", "", "X=1", "y").returncode == 0
        assert run(job, "pbsdsh", "-n", "0", "sh", "-c", shown, "0", "", "X=1", "y").returncode == 0
        assert job.printed() == "0:3:2::1\n3:0:2::\n"
        assert run(job, "pbsdsh", "-n", "1", "sh", "-c", "true", STANDIN_VERSION="5").returncode == 1
        failed = run(job, "pbsdsh", "-n", "0", "--", "sh", "-c", "exit 3")
        assert (failed.returncode, failed.stdout, failed.stderr) == (0, "", "pbsdsh(): task 0 exit status 3\n")


def test_blaunch(short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", "lsf", HOSTS, KINDS["lsf"][1]) as job:
        assert run(job, "blaunch", "node9", "true").returncode == 255
        assert run(job, "blaunch", "node2", "echo", "a  b").stdout == "a b\n"
        assert run(job, "blaunch", "-no-shell", "node2", "echo", "a  b").stdout == "a  b\n"
        assert run(job, "blaunch", "node2", "exit", "3").returncode == 3


def test_qrsh(short_tmp: Path) -> None:
    with jobs.job(short_tmp / "job", "gridengine", HOSTS, KINDS["gridengine"][1]) as job:
        assert run(job, "qrsh", "-inherit", "node9", "true").returncode == 1
        assert run(job, "qrsh", "-inherit", "node2", "echo", "a  b").stdout == "a b\n"
        assert run(job, "qrsh", "-inherit", "-noshell", "node2", "echo", "a  b").stdout == "a  b\n"
        stay = ("qrsh", "-inherit", "-noshell", "node2", "sh", "-c", "echo up; exec sleep 60")
        pipe = subprocess.PIPE
        busy = [subprocess.Popen(stay, env=job.environment, stdout=pipe, text=True) for _ in range(2)]
        for process in busy:
            assert process.stdout
            assert process.stdout.readline() == "up\n"
        assert "didn't accept" in run(job, "qrsh", "-inherit", "node2", "true").stderr
        for process in busy:
            process.terminate()
            process.communicate(timeout=20)
            assert process.returncode == 1
        assert run(job, "qrsh", "-inherit", "-V", "node2", "true", **{"BASH_FUNC_f%%": "() { :; }"}).returncode == 1

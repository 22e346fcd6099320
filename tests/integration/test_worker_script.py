"""The life of a worker on another node: its script for real, in two shells, with a stand-in for Java."""

import os
import resource
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.remote_workers import Master, Workers, looking_often

pytestmark = pytest.mark.integration


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


# --- how it starts ---


def test_the_drivers_environment_and_this_nodes_own(workers: Workers, master: Master) -> None:
    values = {
        "LINES": "a\nb\n",
        "QUOTES": "'\"`$(x)\\",
        "BYTES": "\udcff\udc80ü",
        "EMPTY": "",
        "port": "1",
        "rank": "x",
    }
    theirs = {"TMPDIR": "/nowhere", "HOSTNAME": "node1", "SLURM_JOB_ID": "1", "SLURM_NODEID": "0"}
    workers.write(environment={**values, **theirs})
    master.open()
    workers.start(3, {"SLURM_NODEID": "2", "SLURM_JOB_NAME": "own", "TMPDIR": "/task"})
    note = workers.begun(3)
    env, scratch = note["env"], note["cwd"]
    assert {name: env[name] for name in values} == values
    assert {"SLURM_JOB_ID": "1", "SLURM_NODEID": "2", "SLURM_JOB_NAME": "own"}.items() <= env.items()
    assert "HOSTNAME" not in env
    assert Path(scratch).parent == workers.disk
    expected = {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_PUBLIC_DNS": "127.0.0.1", "SPARK_SCALA_VERSION": "2.13"}
    expected |= {"SPARK_LOCAL_DIRS": f"{scratch}/local", "TMPDIR": f"{scratch}/tmp"}
    expected |= {"OOD_RUNTIME_SESSION": workers.session, "OOD_RUNTIME_WORKER": f"{workers.session}-3"}
    assert expected.items() <= env.items()
    assert note["umask"] == workers.worker.umask
    assert note["files"][0] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert note["processes"][0] == resource.getrlimit(resource.RLIMIT_NPROC)[1]


def test_the_command(workers: Workers, master: Master) -> None:
    workers.write(cores=3, memory_mib=700)
    master.open()
    workers.start()
    argv, scratch = (note := workers.begun())["argv"], note["cwd"]
    assert argv[1] == f"@{workers.worker.options}"
    main = argv.index(workers.worker.main)
    identifier = f"-Dspark.worker.idPattern=worker-1-{os.uname().nodename}-%s-%s-%d"
    options = {f"-Djava.io.tmpdir={scratch}/tmp", f"-Dspark.metrics.conf={scratch}/gate", identifier}
    assert set(argv[2:main]) == options
    names = ("--host", "--port", "--cores", "--memory", "--work-dir")
    assert [option(argv, name) for name in names] == ["127.0.0.1", "0", "3", "700m", f"{scratch}/work"]
    assert argv[-3:] == list(workers.worker.program)
    assert stat.S_IMODE(Path(scratch).stat().st_mode) == 0o700


def test_the_log_is_private_and_goes_on(workers: Workers, master: Master, tmp_path: Path) -> None:
    log, victim = workers.logs / "spark-worker-1.log", tmp_path / "victim"
    log.symlink_to(victim)
    workers.write("7", restarts=0)
    master.open()
    assert workers.start().wait(20) == 7
    assert not log.is_symlink()
    assert not victim.exists()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    first = workers.log()
    assert "ERROR stand-in: no luck today" in first
    (workers.trouble / "1").unlink()
    assert workers.start().wait(20) == 7
    assert workers.log().startswith(first)


@pytest.mark.parametrize("before", [Master.listen, lambda master: None], ids=["not yet", "all at once"])
def test_java_boots_beside_its_master_and_passes_the_gate_when_that_takes_workers(
    workers: Workers, master: Master, before: Callable[[Master], None]
) -> None:
    before(master)
    workers.start()
    note = workers.begun()
    time.sleep(0.5)
    assert workers.started()[0]["passed"] is None
    master.open()
    opened = time.time()
    note = workers.wait(lambda: (last := workers.started()[-1])["passed"] and last)
    assert 0 <= note["passed"] - opened < 2
    assert note["read"] == ""
    assert (Path(note["cwd"]) / "gate").read_bytes() == b""  # who comes again does not wait


def test_without_bash_it_starts_all_the_same(workers: Workers, master: Master) -> None:
    master.open()
    workers.write(change=lambda text: text.replace("command -v bash", "command -v no-such-shell"))
    workers.start()
    workers.wait(lambda: workers.started() and workers.started()[-1]["passed"])


# --- how it ends ---


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_of_it(workers: Workers, master: Master, number: signal.Signals) -> None:
    workers.write("family")
    master.open()
    process = workers.start()
    workers.begun()
    asked = time.monotonic()
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    assert time.monotonic() - asked < 2
    assert workers.left() == []
    assert workers.record() == []


def test_a_java_that_does_not_heed_is_killed(workers: Workers, master: Master) -> None:
    workers.write("stubborn")
    master.open()
    process = workers.start()
    workers.begun()
    process.terminate()
    assert process.wait(5) == 143
    assert workers.left() == []


def test_a_signal_at_any_moment_of_the_start(workers: Workers, master: Master) -> None:
    workers.write("family")
    master.open()
    for step in range(25):
        process = workers.start(step)
        time.sleep(step * 0.003)
        process.terminate()
        assert process.wait(10) in (143, -signal.SIGTERM)  # before it can catch it there is nothing to clear
    workers.wait(lambda: workers.left() == [], 1)


def test_a_killed_script_takes_java_along_and_its_directory(workers: Workers, master: Master) -> None:
    workers.write("family", change=looking_often)
    master.open()
    process = workers.start()
    java = workers.begun()["pid"]
    process.kill()
    workers.wait(lambda: not workers.runs(java), 0.9)
    workers.wait(lambda: workers.left() == [], 5)


def test_a_master_that_is_gone_ends_the_worker(workers: Workers, master: Master) -> None:
    workers.write(change=looking_often)
    master.open()
    process = workers.start()
    workers.wait(lambda: workers.started() and workers.started()[-1]["passed"])
    master.close()
    assert process.wait(15) == 143
    assert workers.left() == []
    assert workers.record()[1:] == ["failed", f"the master at 127.0.0.1:{master.port} has not answered for 3 s"]


def test_a_master_that_never_comes(workers: Workers) -> None:
    workers.write(boot_seconds=1)
    assert workers.start().wait(10) == 143
    assert workers.record()[1] == "failed"
    assert workers.left() == []


# --- trouble ---


def test_a_worker_that_dies_comes_back_and_leaves_nothing_of_its_first_life(workers: Workers, master: Master) -> None:
    workers.write("family stay")
    master.open()
    workers.start()
    os.kill(workers.begun()["pid"], signal.SIGKILL)
    died = time.time()
    note = workers.begun(times=2)
    assert note["started"] - died < 2
    assert len(workers.left()) <= 4  # Java, what waits beside it, and one directory
    host, state, reason = workers.record()
    assert (host, state) == (os.uname().nodename, "restarting")
    assert reason == "Spark ended with signal SIGKILL (the kernel does this when memory runs out)"


def test_a_worker_that_dies_again_and_again_fails(workers: Workers, master: Master) -> None:
    workers.write("kill 9", restarts=2)
    master.open()
    begun = time.monotonic()
    assert workers.start().wait(20) == 9
    assert time.monotonic() - begun >= 2  # 0 and 2 s between them
    assert len(workers.started()) == 3
    reason = "Spark ended with exit status 9: ERROR stand-in: no luck today; it was started again 2 times"
    assert workers.record()[1:] == ["failed", reason]
    assert workers.left() == []


def test_a_worker_that_is_well_again_withdraws_its_record(workers: Workers, master: Master) -> None:
    workers.write("1 stay", change=looking_often)
    master.open()
    workers.start()
    workers.wait(workers.record)
    workers.wait(lambda: not workers.record())


def test_what_is_missing_on_a_node_is_named(workers: Workers) -> None:
    workers.write(needed=(workers.java, Path("/opt/no such/python")))
    assert workers.start().wait(10) == 1
    assert workers.record() == [os.uname().nodename, "failed", "/opt/no such/python is not on this node"]
    assert "/opt/no such/python is not on this node" in workers.log()


def test_a_node_on_which_no_executor_fits_says_so(workers: Workers) -> None:
    workers.write(executor_cores=1000)
    assert workers.start().wait(10) == 1
    assert workers.record()[2].startswith("no executor fits into the ")


def test_no_rank_no_worker(workers: Workers) -> None:
    for rank in ("", "x", "-1"):
        workers.running.clear()
        assert workers.start(rank).wait(5) == 2  # type: ignore[arg-type]


def test_workers_of_one_node_do_not_touch_each_other(bash_workers: Workers, master: Master) -> None:
    bash_workers.write("family", per_node=3)
    master.open()
    for rank in (1, 2, 11):
        bash_workers.start(rank)
    notes = {rank: bash_workers.begun(rank) for rank in (1, 2, 11)}
    assert len({note["cwd"] for note in notes.values()}) == 3
    assert len({option(note["argv"], "--memory") for note in notes.values()}) == 1
    bash_workers.running[1].terminate()
    assert bash_workers.running[1].wait(5) == 143
    assert all(bash_workers.runs(notes[rank]["pid"]) for rank in (2, 11))
    assert len(list(bash_workers.disk.iterdir())) == 2


def test_a_full_disk_keeps_nobody_from_starting(workers: Workers, master: Master) -> None:
    master.open()
    (workers.logs / "spark-worker-1.log").symlink_to("/dev/full")
    workers.write(change=lambda text: text.replace('[ ! -L "$log" ]', "true"))
    workers.start()
    workers.begun()

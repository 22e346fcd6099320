"""What another user of the node plants before a session, and takes away while it starts: of no use to him."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ood_runtime import class_data, java, spark_home
from tests.support.accounts import Account, user_of_tests
from tests.support.faults import Place, command, launch, launched, place
from tests.support.jupyter import log_in
from tests.support.session_of_two import PYTHON

pytestmark = [pytest.mark.root, pytest.mark.integration]

SUPPORT = Path(__file__).parents[1] / "support"
HOLDER = """import socket, sys, time
held = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
print("held")
time.sleep(120)"""


@pytest.fixture
def at() -> Iterator[Place]:
    with place() as new:
        new.root.chmod(0o755)
        yield new


def planted(mallory: Account, path: Path, mode: int = 0o1777) -> Path:
    path.mkdir()
    os.chown(path, mallory.uid, mallory.gid)
    path.chmod(mode)
    return path


def test_planted_session_directories(at: Place, mallory: Account) -> None:
    theirs, common = planted(mallory, at.root / "theirs"), planted(mallory, at.root / "common")
    os.chown(common, 0, 0)
    mallory.run(["ln", "-s", str(theirs), str(common / "link")])
    mallory.run(["mkdir", "-m", "777", str(common / "dir")])
    for directory in (theirs / "session", common / "link", common / "dir"):
        session = launch(at, "jupyter", directory=directory)
        assert session.wait(20) == 2, session.output()
        assert not list(theirs.iterdir()) and not list((common / "dir").iterdir())


def test_planted_records_for_stop(at: Place, mallory: Account) -> None:
    victim = at.root / "home" / "ood-victim"
    victim.mkdir(mode=0o700)
    (victim / "kept").write_text("")
    subprocess.run(["chown", "-R", f"{user_of_tests().uid}:{user_of_tests().gid}", str(victim)], check=True)
    bait = planted(mallory, at.root / "bait", 0o755) / "ood-runtime"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    record = {"id": "0", "app": "jupyter", "host": socket.gethostname(), "boot": boot, "pid": 1, "started_at": 1}
    bait.mkdir()
    (bait / "session.json").write_text(json.dumps({**record, "outside": [str(victim)]}))
    (bait / "secrets.json").write_text(json.dumps(["../../home/ood-victim/kept", str(victim / "kept")]))
    subprocess.run(["chown", "-R", str(mallory.uid), str(bait)], check=True)
    assert command(at, "stop", bait.parent).returncode == 2
    assert (victim / "kept").exists()


def test_planted_archives(at: Place, mallory: Account) -> None:
    """Class-data archives are code: what another user may have made is not used, the same files of ours are."""
    cache = planted(mallory, at.root / "cache", 0o755)
    environment = user_of_tests().environment()
    archives = class_data.at(
        cache / "ood-runtime" / "class-data",
        class_data.key(java.find(None, environment), spark_home.find(None, environment)),
    )
    archives.conf_dir.mkdir(parents=True)
    archives.directory.mkdir()
    for name in ("daemon.jsa", "driver.jsa", "executor.jsa"):
        (archives.directory / name).write_text("only a JVM would see what is in here")
    for owner, used in ((mallory, False), (user_of_tests(), True)):
        subprocess.run(["chown", "-R", f"{owner.uid}:{owner.gid}", str(cache)], check=True)
        subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w", str(cache)], check=True)
        code = "import sys; from ood_runtime.cli import main; sys.exit(main())"
        done = subprocess.run(
            [sys.executable, "-c", code, "plan", "jupyter-spark"],
            env={**environment, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(SUPPORT.parents[1])},
            capture_output=True, text=True, check=True, cwd="/", **user_of_tests().identity(),
        )  # fmt: skip
        assert (f"SharedArchiveFile={cache}" in done.stdout) is used


def test_ports_that_another_user_takes(at: Place, mallory: Account) -> None:
    """Some before, and one between choosing and listening: another is drawn, and theirs is never announced."""
    first, last, before = 31200, 31209, [31200, 31202, 31204, 31206]
    thief = (SUPPORT / "port_thief.py").read_text()
    ports = list(map(str, before))
    with (
        _program(mallory, HOLDER, ports, "held"),
        _program(mallory, thief, [str(first), str(last), "1"], "watching") as it,
    ):
        settings = ("--set", f"ports.min={first}", "--set", f"ports.max={last}")
        with launched(at, "jupyter", *settings) as session:
            connection = session.connection()
            assert it.stdout
            stolen = int(it.stdout.readline())
            assert connection["port"] not in [*before, stolen]
            assert "port" in session.output() and session.status()["state"] == "ready"
            log_in(connection).close()


@contextmanager
def _program(user: Account, code: str, words: list[str], ready: str) -> Iterator["subprocess.Popen[str]"]:
    process = user.start([PYTHON, "-u", "-c", code, *words])
    assert process.stdout
    try:
        assert process.stdout.readline().strip() == ready
        yield process
    finally:
        process.kill()
        process.communicate()

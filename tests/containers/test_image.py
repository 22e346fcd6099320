"""The image of jupyter-spark, built by a real Apptainer: what is in it, and sessions inside of it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ood_runtime import __version__
from tests.containers.images import Apptainer, newest_code
from tests.support.accounts import user_of_tests
from tests.support.jupyter import Connection, JupyterClient
from tests.support.running import STOPPED_WITHIN, RunningSession

pytestmark = [pytest.mark.root, pytest.mark.integration, pytest.mark.timeout(1800)]  # where the image is built first

SUM = "sc.parallelize(range(1000), 4).sum()"
LogIn = Callable[[Connection], JupyterClient]


def run(runtime: Apptainer, *arguments: str | Path, within: float = 120) -> str:
    """What `apptainer ARGUMENTS` prints for the user of the tests; it must succeed."""
    user = user_of_tests()
    command, environment = [str(runtime.program), *map(str, arguments)], user.environment(newest_code())
    done = subprocess.run(
        command, env=environment, cwd="/tmp", stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=within, check=False, **user.identity(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_what_is_in_the_image(runtime: Apptainer, jupyter_image: Path) -> None:
    assert run(runtime, "exec", jupyter_image, "ood-runtime", "--version").strip() == f"ood-runtime {__version__}"
    assert "jupyter-spark --session-dir" in run(runtime, "run-help", jupyter_image)
    labels = json.loads(run(runtime, "inspect", "--json", jupyter_image))["data"]["attributes"]["labels"]
    assert labels["org.opencontainers.image.title"] == "jupyter-spark"
    # Nothing of the machine that built it: no sources, no lists, no caches.
    left = run(runtime, "exec", jupyter_image, "sh", "-c", "ls -d /build /root/.cache /var/lib/apt/lists/* 2>&1 || :")
    assert all("No such file" in line for line in left.splitlines()), left
    assert jupyter_image.stat().st_size < 1.2e9


def test_its_own_test_passes(runtime: Apptainer, jupyter_image: Path) -> None:
    said = run(runtime, "test", jupyter_image, within=300)
    assert "the PySpark kernel computed 499500 on the workers" in said
    # The archives that were built with the image are found in it, and trusted.
    assert "/opt/ood-runtime/share/ood-runtime/class-data/" in said


@pytest.mark.parametrize("options", [(), ("--pid",)], ids=["the machine's processes", "its own processes"])
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_session_wholly_inside(
    runtime: Apptainer,
    jupyter_image: Path,
    options: tuple[str, ...],
    end: signal.Signals,
    short_tmp: Path,
    log_in_to: LogIn,
) -> None:
    before = mounts()
    session = start(runtime, jupyter_image, options, short_tmp)
    try:
        client = log_in_to(session.connection())
        if options and end is signal.SIGTERM:
            kernel = client.start_kernel()
            assert client.run(kernel, SUM).strip() == "499500"
            assert client.run(kernel, "import sys; sys.prefix").strip() == "'/opt/ood-runtime'"
        session.process.send_signal(end)
        assert session.wait(STOPPED_WITHIN) == (128 + end if end is signal.SIGTERM else -end)
        if end is signal.SIGTERM:
            session.assert_nothing_left()
        else:
            # The session ends in order, or with its process 1.
            assert not gone(session.processes)
            end_what_mounts(jupyter_image)
        assert not gone(lambda: user_processes(jupyter_image))
        assert mounts() == before
    finally:
        session.kill_remains()


def start(
    runtime: Apptainer, image: Path, options: tuple[str, ...], place: Path, app: str = "jupyter-spark"
) -> RunningSession:
    """`apptainer run IMAGE APP`, as somebody types it."""
    user, directory, output = user_of_tests(), place / "a session", place / "output"
    command = [str(runtime.program), "run", *options, str(image), app, "--session-dir", str(directory)]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=place,
            env=user.environment({**newest_code(), "TMPDIR": str(place)}), start_new_session=True, **user.identity(),
        )  # fmt: skip
    return RunningSession(process, directory, output)


def end_what_mounts(image: Path) -> None:
    """An Apptainer that is killed leaves what mounts the image, for the scheduler to kill."""
    for pid, line in user_processes(image).items():
        if "squashfuse" in line:
            os.kill(pid, signal.SIGTERM)


def gone(look: Callable[[], dict[int, str]]) -> dict[int, str]:
    """The processes that ``look`` still finds after a while; none as soon as it finds none."""
    deadline = time.monotonic() + STOPPED_WITHIN
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def user_processes(image: Path) -> dict[int, str]:
    """What runs of the user of the tests that has to do with the image: command lines by pid."""
    found, uid = {}, user_of_tests().uid
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if entry.name.isdigit() and entry.stat().st_uid == uid and (image.name in line or "squashfuse" in line):
                found[int(entry.name)] = line
        except (OSError, NotADirectoryError):
            continue
    return found


def mounts() -> set[str]:
    """What is mounted where on this machine, outside of any container."""
    return {" ".join(line.split()[3:5]) for line in Path(f"/proc/{os.getpid()}/mountinfo").read_text().splitlines()}

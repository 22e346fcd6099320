"""The three ways of docs/portal.md to put a session behind an app, in the portal's job script, with a real session."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.portal_job import PortalJob
from tests.support.running import processes_of

REPOSITORY = Path(__file__).parents[2]
WAYS = ("The recommended way: ood-runtime writes connection.yml", "Without files", "The portal writes connection.yml")
RECOMMENDED, _, PORTAL_WRITES = WAYS
_PROTECTIVE_SECONDS = 30
StartJob = Callable[..., "Job"]


def _files(way: str) -> dict[str, str]:
    """The files of one way, by the names in its headings."""
    page = (REPOSITORY / "docs" / "portal.md").read_text("utf-8")
    section = re.split(r"^### ", page, flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(f"{way}\n"))
    found = re.findall(r"^#### (\S+)\n.*?```(?:bash|yaml)\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    return dict(found)


class Job:
    """The portal's job for one app, whose sessions are small ones."""

    def __init__(self, staged: Path, way: str, environment: dict[str, str]) -> None:
        files = _files(RECOMMENDED) | _files(way) if way == PORTAL_WRITES else _files(way)
        options: dict[str, Any] = {}
        for name, text in files.items():
            if name.startswith("template/"):
                (staged / name.removeprefix("template/")).write_text(text)
                (staged / name.removeprefix("template/")).chmod(0o700)
            else:
                options = {k: v for k, v in yaml.safe_load(text)["batch_connect"].items() if k != "template"}
        text = PortalJob(**options).text(staged)
        (staged.parent / "job.sh").write_text(text.replace("\ncreate_yml\n", "\ncreate_yml\ntouch created\n"))
        self.staged = staged
        self.output = staged.parent / "output.log"
        with self.output.open("wb") as stream:
            self.process = subprocess.Popen(
                ["bash", staged.parent / "job.sh"],
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def wait_for(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + _PROTECTIVE_SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)
        return found

    def says(self, text: str) -> bool:
        return text in self.output.read_text()

    def ends(self) -> int:
        return self.process.wait(_PROTECTIVE_SECONDS)

    def session(self) -> str:
        return str(json.loads((self.staged / "ood-runtime" / "session.json").read_text())["id"])


@pytest.fixture
def start_job(short_tmp: Path) -> Iterator[StartJob]:
    """Starts the portal's job for a way; ended after the test."""
    started: list[Job] = []

    def start(way: str, script: str = "") -> Job:
        programs, staged = short_tmp / "bin", short_tmp / "staged"
        programs.mkdir()
        staged.mkdir(mode=0o700)
        program = programs / "ood-runtime"
        small = REPOSITORY / "tests" / "support" / "small_start.py"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(small))} "$@"\n')
        program.chmod(0o755)
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(short_tmp), "PYTHONPATH": str(REPOSITORY)}
        started.append(Job(staged, way, {**environment, "SMALL_SESSION": script, "PYTHONDONTWRITEBYTECODE": "1"}))
        return started[-1]

    yield start
    for job in started:
        if job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGKILL)
            job.process.wait()


@pytest.mark.parametrize("way", WAYS)
def test_the_portal_gets_the_sessions_own_connection(start_job: StartJob, way: str) -> None:
    job = start_job(way)
    connection = job.staged / "connection.yml"
    if way == PORTAL_WRITES:
        job.wait_for(lambda: job.says("Generating connection YAML file"))
    # Not read twice: the portal's own script empties it before it writes it.
    values = job.wait_for(lambda: connection.exists() and yaml.safe_load(connection.read_text()))
    assert values["host"] == "localhost"
    assert 20000 <= values["port"] <= 32767
    assert len(values["password"]) >= 16
    assert connection.stat().st_mode & 0o777 == 0o600
    session = job.session()
    job.wait_for((job.staged / "created").exists)
    subprocess.run(
        [sys.executable, "-m", "ood_runtime", "stop", "--session-dir", job.staged], check=True, cwd=REPOSITORY
    )
    assert job.ends() == 0, job.output.read_text()
    assert not connection.exists()
    assert not processes_of(session)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_fails_ends_the_job_at_once_with_the_reason(start_job: StartJob, way: str) -> None:
    job = start_job(way, "missing")
    assert job.ends() == 1
    assert job.says("no Jupyter here")
    assert _state(job.staged) == "failed", "the card says why"
    assert not job.says("ended before its session was ready"), "only the reason counts"
    assert not (job.staged / "connection.yml").exists()


@pytest.mark.parametrize("way", WAYS)
def test_deleting_the_card_while_it_starts_ends_the_session_in_order(start_job: StartJob, way: str) -> None:
    job = start_job(way, "slow")
    job.wait_for((job.staged / "ood-runtime" / "session.json").exists)
    session = job.session()
    job.wait_for(lambda: any(" publish " in line or " wait " in line for line in _commands(job)))
    (job.staged / "clean.sh").write_text("echo cleaned >&2")
    asked = time.monotonic()
    job.process.terminate()  # as Slurm does it: to the script alone
    assert job.ends() == 143
    assert time.monotonic() - asked < 10, "Slurm's grace is 30 s"
    assert job.says("cleaned")
    assert not (job.staged / "connection.yml").exists()
    assert not processes_of(session)


@pytest.mark.parametrize("way", WAYS)
def test_deleting_the_card_of_a_session_that_is_ready_ends_it_in_order(start_job: StartJob, way: str) -> None:
    job = start_job(way)
    job.wait_for(lambda: (job.staged / "connection.yml").exists() and _state(job.staged) == "ready")
    session = job.session()
    job.process.terminate()
    assert job.ends() == 143
    if way == PORTAL_WRITES:  # whose script does not wait for what it has started
        job.wait_for(lambda: _state(job.staged) == "ended")
    assert _state(job.staged) == "ended"
    assert not (job.staged / "connection.yml").exists()
    assert not processes_of(session)


def _state(staged: Path) -> str:
    return str(json.loads((staged / "status.json").read_text())["state"])


def _commands(job: Job) -> list[str]:
    """The command lines of the job's children."""
    children = Path(f"/proc/{job.process.pid}/task/{job.process.pid}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() for pid in children]

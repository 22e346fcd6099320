"""Programs that write down what they have in memory before a session ends, whatever has become of who started them."""

import signal
from pathlib import Path

import pytest

from ood_runtime import processes
from ood_runtime.service import Service
from ood_runtime.status import Status
from ood_runtime.supervisor import Supervisor
from tests.unit.calls import InChild
from tests.unit.scene import STAY, Exists, Scene, nothing, service

SAVE = "trap 'sleep 0.4; echo saved >>{file}; exit' USR2"
REFUSE = "trap 'echo asked >>{file}' USR2"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "saved"


def with_rsession(tmp_path: Path, file: Path, on_signal: str, *, stays: str = STAY) -> Service:
    """A service whose session is in a process group of its own, as RStudio's are, and ready with that."""
    program, ready = tmp_path / "rsession", tmp_path / "ready"
    program.write_text(
        f"#!/bin/sh\n{on_signal.format(file=file)}\ntrap '' TERM\ntouch {ready}\nwhile :; do sleep 0.02; done\n"
    )
    program.chmod(0o700)
    return service("rstudio", f"setsid {program} & {stays}", ready=Exists(ready), parting={"rsession": signal.SIGUSR2})


def test_they_are_waited_for(scene: Scene, in_child: InChild, tmp_path: Path, file: Path) -> None:
    def scenario() -> float:
        scene.run([with_rsession(tmp_path, file, SAVE), service("other")], nothing)
        return scene.seconds_to_stop

    assert 0.4 < in_child(scenario) < 1.5
    assert file.read_text() == "saved\n"


def test_also_when_who_started_them_is_gone(scene: Scene, in_child: InChild, tmp_path: Path, file: Path) -> None:
    def killed(running: Supervisor, status: Status) -> None:
        processes.send([status.services["rstudio"].pid or 0], signal.SIGKILL)

    in_child(lambda: scene.run([with_rsession(tmp_path, file, SAVE)], killed))
    assert file.read_text() == "saved\n"


def test_not_longer_than_the_session_may_take(scene: Scene, in_child: InChild, tmp_path: Path, file: Path) -> None:
    scene.stop_seconds = 2.0

    def scenario() -> float:
        scene.run([with_rsession(tmp_path, file, REFUSE)], nothing)
        return scene.seconds_to_stop

    assert 0.9 < in_child(scenario) < 2.5
    assert file.read_text() == "asked\n"


def test_no_other_program_is_told(scene: Scene, in_child: InChild, tmp_path: Path, file: Path) -> None:
    told = with_rsession(tmp_path, file, SAVE)
    plain = Service(**{**vars(told), "parting": {"rsessions": signal.SIGUSR2}})
    in_child(lambda: scene.run([plain], nothing))
    assert not file.exists()

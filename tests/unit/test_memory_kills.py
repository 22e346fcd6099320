"""What the kernel has killed for lack of memory: where it counts that, and what a session says of it."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ood_runtime import supervisor
from ood_runtime.errors import ServiceDiedError
from ood_runtime.failures import describe
from ood_runtime.memory_kills import MemoryKills
from ood_runtime.status import Status
from ood_runtime.supervisor import Supervisor
from tests.unit.calls import InChild
from tests.unit.scene import Scene, outcome, service, watch_and_kill

V1 = ("1:memory:/slurm/job_7/step_batch", "32 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory")
V2 = ("0::/slurm/job_7/step_batch", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw")
GROUPS = [
    (*V1, "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n"),
    (*V2, "sys/fs/cgroup", "memory.max", "memory.events", "low 0\nhigh 0\nmax 9\noom 5\noom_group_kill 6\n"),
]


def job(root: Path, cgroup: str, mount: str, top: str, limit: str, counter: str, before: str) -> Path:
    """A job with 32 MiB in which two processes were killed before the session began; where its kernel counts."""
    group = root / top / "slurm/job_7/step_batch"
    group.mkdir(parents=True)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"{cgroup}\n")
    (root / "proc/self/mountinfo").write_text(f"{mount}\n")
    (group.parent / limit).write_text(f"{32 << 20}\n")
    (group / counter).write_text(f"{before}oom_kill 2\n")
    return group / counter


@pytest.mark.parametrize("facts", GROUPS, ids=["v1", "v2"])
def test_what_is_killed_from_now_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: tuple[str, ...]
) -> None:
    counter = job(tmp_path, *facts)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    kills = MemoryKills(tmp_path)
    assert kills.lately() == ""
    counter.write_text(counter.read_text().replace("oom_kill 2", "oom_kill 3"))
    assert kills.lately().startswith("memory ran out: all 0.0 GiB that the job may use on ")
    now = 1009.0
    assert kills.lately()
    now = 1010.0
    assert kills.lately() == "", "whoever is killed now, it was something else"
    counter.write_text("oom_kill 4\n")
    assert kills.lately()


def test_a_group_without_a_limit_may_be_that_of_others(tmp_path: Path) -> None:
    counter = job(tmp_path, *GROUPS[0])
    (counter.parents[1] / "memory.limit_in_bytes").unlink()
    kills = MemoryKills(tmp_path)
    counter.write_text("oom_kill 3\n")
    assert kills.lately() == ""


@pytest.mark.parametrize("content", [b"", b"oom_kill\n", b"oom_kill 1 2\n", b"\xff\n", None])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    counter = job(tmp_path, *GROUPS[1])
    kills = MemoryKills(tmp_path)
    if content is None:
        counter.unlink()
    else:
        counter.write_bytes(content)
    assert kills.lately() == ""


def test_a_service_that_was_killed_has_the_remedy(scene: Scene, in_child: InChild) -> None:
    def scenario() -> tuple[str, str]:
        try:
            scene.run([service("jupyter")], watch_and_kill("jupyter", 1))
        except ServiceDiedError as error:
            return error.what, error.remedy
        return "", ""

    what, remedy = in_child(scenario)
    assert what == "jupyter ended with signal SIGKILL (killed: the kernel does this when memory runs out)"
    assert remedy.startswith("ask for more memory")


def test_a_session_whose_memory_ran_out_says_so(
    scene: Scene, in_child: InChild, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """First what does not end the session, a kernel for example, then the service itself."""
    counter = job(tmp_path, *GROUPS[1])
    monkeypatch.setattr(supervisor, "MemoryKills", lambda: MemoryKills(tmp_path))

    def kill_when_told(status: Status, event: dict[str, Any]) -> None:
        if event["event"] == "notice":
            assert event["message"].startswith("memory ran out: ") and "; ask for more memory" in event["message"]
            os.kill(status.services["jupyter"].pid or 0, signal.SIGKILL)

    def then(running: Supervisor, status: Status) -> None:
        status.listeners.append(kill_when_told)
        counter.write_text("oom_kill 3\n")
        running.watch()

    why, exit_status, _ = in_child(lambda: outcome(scene, [service("jupyter")], then))
    assert why.startswith("jupyter ended with signal SIGKILL: memory ran out: all 0.0 GiB")
    assert exit_status == 5


def test_a_shell_that_passes_it_on() -> None:
    assert "memory" in describe(137)
    assert describe(143) == "exit status 143"

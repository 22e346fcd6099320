"""Checks of several services together: when they are looked at, what ends a start, and what is only told."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ood_runtime import checks
from ood_runtime.checks import Checks
from ood_runtime.errors import NotReadyError, ServiceDiedError
from ood_runtime.service import Answer, Check
from ood_runtime.status import Status

NOT_YET = Answer(ready=False, detail="1 of 3 workers", workers=(1, 3))
COMPLETE = Answer(ready=True, detail="3 of 3 workers", workers=(3, 3))


@dataclass
class Clock:
    """Seconds that pass when the test says so."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Proof:
    """Answers as it is told, and remembers what it was asked."""

    answer: Answer = NOT_YET
    asked: list[list[str]] = field(default_factory=list)

    def __call__(self, given_up: Collection[str]) -> Answer:
        self.asked.append(list(given_up))
        return self.answer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(checks, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def proof() -> Proof:
    return Proof()


@pytest.fixture
def status(tmp_path: Path) -> Status:
    return Status(tmp_path, "id", "app", "localhost", started_at=time.time())


@pytest.fixture
def looking(proof: Proof, clock: Clock, tmp_path: Path, status: Status) -> Checks:
    """One check of what the master and one worker do together."""
    check = Check(
        "cluster", proof, 20.0, "logs/worker.log", ("master", "worker"), probe_seconds=0.5, again_seconds=10.0
    )
    return Checks([check], tmp_path, status)


def counted(status: Status) -> tuple[int, int]:
    assert status.workers
    return status.workers["ready"], status.workers["wanted"]


def seen(status: Status) -> tuple[str, str]:
    return status.services["cluster"].state, status.services["cluster"].detail


READY = ("master", "worker", "other")


def test_without_checks_all_is_proven(tmp_path: Path, status: Status) -> None:
    assert Checks([], tmp_path, status).all_ready()


def test_it_waits_for_its_services(looking: Checks, proof: Proof, status: Status, clock: Clock) -> None:
    for ready in ((), ("master",), ("worker", "other")):
        looking.before(ready, ())
        clock.now += 100
    assert proof.asked == []
    assert seen(status) == ("waiting", "")
    assert status.services["cluster"].log == "logs/worker.log"
    assert not looking.all_ready()
    looking.before(READY, ())
    assert len(proof.asked) == 1


def test_it_is_looked_at_every_so_often(looking: Checks, proof: Proof, clock: Clock) -> None:
    for _ in range(100):
        looking.before(READY, ())
        clock.now += 0.1
    assert 18 <= len(proof.asked) <= 21


def test_progress_is_told(looking: Checks, proof: Proof, status: Status, clock: Clock) -> None:
    looking.before(READY, ())
    assert seen(status) == ("starting", "1 of 3 workers")
    assert counted(status) == (1, 3)
    proof.answer = COMPLETE
    looking.before(READY, ())
    assert not looking.all_ready(), "not due yet"
    clock.now += 1
    looking.before(READY, ())
    assert looking.all_ready()
    assert seen(status) == ("ready", "3 of 3 workers")
    assert counted(status) == (3, 3)


def test_what_is_proven_is_not_asked_again_during_the_start(looking: Checks, proof: Proof, clock: Clock) -> None:
    proof.answer = COMPLETE
    for _ in range(5):
        looking.before(READY, ())
        clock.now += 5
    assert len(proof.asked) == 1


def test_what_is_not_essential_is_told_and_done_without(
    proof: Proof, clock: Clock, tmp_path: Path, status: Status
) -> None:
    check = Check("page", proof, 10.0, "logs/ui.log", again_seconds=math.inf, essential=False)
    looking = Checks([check], tmp_path, status)
    proof.answer = Answer(ready=False, detail="status 404")
    looking.before((), ())
    assert looking.all_ready() and not proof.asked, "nobody waits for it"
    looking.after(())
    assert len(proof.asked) == 1 and not status.notices
    clock.now += 11
    looking.after(())
    assert status.notices == ["page: status 404; see logs/ui.log"]
    asked = len(proof.asked)
    clock.now += 1000
    looking.after(())
    assert len(proof.asked) == asked
    looking.look_soon()
    looking.after(())
    assert len(proof.asked) == asked + 1, "something has ended"


def test_too_late(looking: Checks, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker.log").write_text("no master anywhere\n")
    looking.before((), ())
    clock.now += 100  # the time counts from when its services are ready
    looking.before(READY, ())
    clock.now += 20
    looking.before(READY, ())
    clock.now += 1
    with pytest.raises(NotReadyError, match=r"(?s)cluster was not ready after 20 s: 1 of 3.*no master any") as caught:
        looking.before(READY, ())
    assert caught.value.log == str(tmp_path / "logs/worker.log")


def test_what_can_never_be_ends_the_start_at_once(looking: Checks, proof: Proof) -> None:
    proof.answer = Answer(ready=False, hopeless="3 of 3 workers failed: worker 1 on node2 failed: no Java")
    with pytest.raises(ServiceDiedError, match="cluster cannot become ready: 3 of 3 workers failed: worker 1 on node2"):
        looking.before(READY, ("workers",))
    assert proof.asked == [["workers"]]


def test_enough_is_enough_although_some_have_failed(looking: Checks, proof: Proof, status: Status) -> None:
    proof.answer = Answer(ready=True, detail="2 of 3 workers", workers=(2, 3), notices=("worker 2 failed",))
    looking.before(READY, ())
    looking.before(READY, ())
    assert looking.all_ready()
    assert status.notices == ["worker 2 failed"]


def live(looking: Checks, proof: Proof, clock: Clock) -> None:
    """All is proven; the session lives."""
    proof.answer = COMPLETE
    looking.before(READY, ())
    proof.asked.clear()
    clock.now += 10


@pytest.mark.parametrize("hopeless", ["", "all workers failed"])
def test_what_is_lost_later_is_told_and_ends_nothing(
    looking: Checks, proof: Proof, status: Status, clock: Clock, hopeless: str
) -> None:
    live(looking, proof, clock)
    proof.answer = Answer(ready=False, detail="lost node3", workers=(2, 3), notices=("gone",), hopeless=hopeless)
    looking.after(("workers",))
    assert proof.asked == [["workers"]]
    assert seen(status) == ("ready", "lost node3")
    assert counted(status) == (2, 3)
    looking.look_soon()
    looking.after(())
    assert status.notices == ["gone"], "once"


def count(looking: Checks, proof: Proof, clock: Clock, seconds: int) -> int:
    proof.asked.clear()
    for _ in range(10 * seconds):
        looking.after(())
        clock.now += 0.1
    return len(proof.asked)


def test_it_is_looked_at_rarely_while_all_is_well_and_oftener_while_something_is_missing(
    looking: Checks, proof: Proof, clock: Clock
) -> None:
    live(looking, proof, clock)
    assert 9 <= count(looking, proof, clock, 100) <= 10
    proof.answer = NOT_YET
    assert 40 <= count(looking, proof, clock, 100) <= 50


def test_a_check_that_counts_no_workers_is_looked_at_rarely_too(tmp_path: Path, status: Status, clock: Clock) -> None:
    proof = Proof(Answer(ready=True))
    looking = Checks([Check("logs", proof, 20.0, "logs/x.log", again_seconds=30.0)], tmp_path, status)
    looking.before((), ())
    for _ in range(90):
        clock.now += 1
        looking.after(())
    assert len(proof.asked) == 4


def test_it_is_looked_at_as_soon_as_something_has_ended(looking: Checks, proof: Proof, clock: Clock) -> None:
    live(looking, proof, clock)
    looking.after(())
    looking.after(())
    assert len(proof.asked) == 1
    looking.look_soon()
    looking.after(())
    assert len(proof.asked) == 2


def test_a_master_that_does_not_answer_leaves_the_last_count(
    looking: Checks, proof: Proof, status: Status, clock: Clock
) -> None:
    live(looking, proof, clock)
    proof.answer = Answer(ready=False, detail="the Spark master does not answer yet")
    looking.after(())
    assert counted(status) == (3, 3)
    assert seen(status)[1] == "the Spark master does not answer yet"


def test_the_end(looking: Checks, proof: Proof, status: Status, clock: Clock) -> None:
    live(looking, proof, clock)
    looking.end()
    assert seen(status) == ("ended", "")


def test_events_are_told_once(looking: Checks, proof: Proof, status: Status, clock: Clock) -> None:
    told: list[dict[str, Any]] = []
    status.listeners.append(lambda status, event: told.append(event))
    for _ in range(5):
        looking.before(READY, ())
        clock.now += 1
    assert [event["state"] for event in told] == ["starting"]

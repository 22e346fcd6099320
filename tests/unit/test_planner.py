"""The child that plans: it answers with values or with the error, and is gone when it is not needed."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ood_runtime import planning
from ood_runtime.allocation import Allocation
from ood_runtime.errors import MissingError, OodRuntimeError, SettingsError
from ood_runtime.plan import Directories, Grant, Outline, Place, Plan
from ood_runtime.planner import Planner
from ood_runtime.request import Request
from ood_runtime.secret import Secret
from tests.unit.calls import InChild

REQUEST = Request("jupyter", {})


@pytest.fixture
def outline(allocation: Allocation, place: Place, tmp_path: Path) -> Outline:
    return Outline("jupyter", allocation, place, tmp_path, tmp_path, ("web",), (1, 2), {"password": "password"}, 8.0)


def plans(outline: Outline) -> Any:
    def plan(directories: Directories, grant: Grant) -> Plan:
        if grant.ports["web"] == 13:
            raise SettingsError("not 13", remedy="another")
        return Plan(connection={"port": grant.ports["web"], "password": grant.secrets["password"]})

    return lambda request: SimpleNamespace(outline=outline, plan=plan)


@contextmanager
def asked(request: Request = REQUEST) -> Iterator[Planner]:
    with Planner() as planner:
        planner.ask(request)
        yield planner


def outline_of(request: Request = REQUEST) -> Outline:
    with asked(request) as planner:
        return planner.outline()


def grant(port: int) -> Grant:
    return Grant({"web": port}, {"password": Secret("gsecret")})


def test_an_outline_and_many_plans(
    in_child: InChild, outline: Outline, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "prepare", plans(outline))

    def scenario() -> tuple[Outline, list[Mapping[str, str | int | Secret]], int]:
        with asked() as planner:
            answer = planner.outline()
            found = [planner.plan(directories, grant(port)).connection for port in (1, 2, 3)]
            planner.close()
            _, status = os.wait()
        return answer, found, os.waitstatus_to_exitcode(status)

    answer, found, status = in_child(scenario)
    assert answer == outline
    assert found == [{"port": port, "password": Secret("gsecret")} for port in (1, 2, 3)]
    assert status == 0, "the child ends when nobody asks any more"


def test_errors_come_over_as_they_are(
    in_child: InChild, outline: Outline, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(request: Request) -> Any:
        raise MissingError("no Java", remedy="load it", log="/x")

    monkeypatch.setattr(planning, "prepare", prepare)
    with pytest.raises(MissingError) as caught:
        in_child(outline_of)
    assert (caught.value.what, caught.value.remedy, caught.value.log) == ("no Java", "load it", "/x")

    monkeypatch.setattr(planning, "prepare", plans(outline))

    def late() -> None:
        with asked() as planner:
            planner.outline()
            planner.plan(directories, grant(13))

    with pytest.raises(SettingsError, match="not 13"):
        in_child(late)


def test_a_child_that_dies_is_an_error_in_words(in_child: InChild, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(request: Request) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(planning, "prepare", prepare)
    with pytest.raises(OodRuntimeError, match="ended unexpectedly") as caught:
        in_child(outline_of)
    assert "memory" in caught.value.remedy


@pytest.mark.parametrize("first", ["asked", "killed"])
def test_a_child_that_is_killed_before_it_has_read_what_is_asked(in_child: InChild, first: str) -> None:
    def scenario() -> Outline:
        with Planner() as planner:
            os.kill(planner.pid, signal.SIGSTOP)
            if first == "asked":
                planner.ask(REQUEST)
            os.kill(planner.pid, signal.SIGKILL)
            os.waitid(os.P_PID, planner.pid, os.WEXITED | os.WNOWAIT)
            if first == "killed":
                planner.ask(REQUEST)
            return planner.outline()

    with pytest.raises(OodRuntimeError, match="ended unexpectedly"):
        in_child(scenario)


def test_signals_of_a_whole_job_are_left_to_the_parent(
    in_child: InChild, outline: Outline, directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "prepare", plans(outline))

    def scenario() -> object:
        with asked() as planner:
            planner.outline()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(planner.pid, number)
            return planner.plan(directories, grant(1)).connection["port"]

    assert in_child(scenario) == 1


def test_the_parent_stays_small(in_child: InChild, outline: Outline) -> None:
    def scenario() -> bool:
        for name in [name for name in sys.modules if name.startswith("ood_runtime.planning")]:
            del sys.modules[name]
        with asked(Request("nonsense", {})) as planner, pytest.raises(SettingsError, match="there is no app"):
            planner.outline()
        return "ood_runtime.planning" in sys.modules

    assert in_child(scenario) is False


def test_nobody_has_asked(in_child: InChild) -> None:
    def scenario() -> None:
        with Planner():
            pass
        with pytest.raises(ChildProcessError):
            os.wait()

    in_child(scenario)

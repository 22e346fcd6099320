"""Launchers and apps are found by being there, by a name, or by the job that this process is in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from ood_runtime import apps, launchers, secret
from ood_runtime.allocation import Allocation, Launch, Node, Task
from ood_runtime.errors import MissingError, OodRuntimeError, SettingsError, find_all
from ood_runtime.launchers import Launcher
from ood_runtime.settings import Settings


@dataclass(frozen=True)
class Fake:
    name: str
    inside: bool

    def detect(self, environment: Mapping[str, str]) -> bool:
        return self.inside

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        return Allocation(self.name, "7", (), directory)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        return ()


PLUGIN = Fake("plugin", inside=True)


def fakes(monkeypatch: pytest.MonkeyPatch, *found: Launcher) -> None:
    monkeypatch.setattr(launchers, "available", lambda: {item.name: item for item in found})


def test_the_job_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    local, one, two = launchers.available()["local"], Fake("one", inside=True), Fake("two", inside=False)
    fakes(monkeypatch, local, one, two)
    assert launchers.choose(None, {}) is one
    assert launchers.choose("two", {}) is two
    fakes(monkeypatch, local, two)
    assert launchers.choose(None, {}) is local


def test_two_schedulers_at_once_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, Fake("two", inside=True), Fake("one", inside=True))
    with pytest.raises(SettingsError, match="more than one scheduler: one, two") as caught:
        launchers.choose(None, {})
    assert caught.value.remedy == "set launcher"


def test_an_unknown_launcher() -> None:
    with pytest.raises(SettingsError, match=r"launcher: nonsense is unknown; there are .*local"):
        launchers.choose("nonsense", {})


def test_launchers_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("plugin", "anywhere:PLUGIN", "ood_runtime.launchers")
    monkeypatch.setattr(EntryPoint, "load", lambda self: PLUGIN)
    monkeypatch.setattr(launchers, "entry_points", lambda group: EntryPoints([point]).select(group=group))
    assert launchers.available()["plugin"] is PLUGIN


@pytest.mark.parametrize("name", launchers.available())
def test_every_launcher_is_called_what_it_says(name: str) -> None:
    assert launchers.available()[name].name == name


def test_local_is_this_machine(tmp_path: Path) -> None:
    local = launchers.available()["local"]
    assert local.detect({})
    given = local.allocation({}, tmp_path, Settings())
    (node,) = given.nodes
    assert (given.launcher, given.job_id, given.directory, given.ends_at) == ("local", "", tmp_path, None)
    assert isinstance(node, Node)
    assert node.cpus >= 1
    assert node.memory > 0


# --- apps ---


@pytest.mark.parametrize("name", apps.available())
def test_every_app_declares_what_it_needs(name: str) -> None:
    app = apps.get(name)
    assert app.name == name
    assert app.summary
    assert len(set(app.ports)) == len(app.ports)
    assert all(callable(getattr(secret, kind)) for kind in app.secrets.values())


def test_an_unknown_app() -> None:
    with pytest.raises(SettingsError, match="there is no app 'x'; there are jupyter, jupyter-spark"):
        apps.get("x")


def test_everything_that_is_missing_is_told_at_once() -> None:
    def lacks(what: str) -> None:
        raise MissingError(f"no {what}", remedy=f"install {what}")

    found: list[int] = []
    with pytest.raises(OodRuntimeError) as caught:
        find_all(lambda: lacks("Java"), lambda: found.append(1), lambda: lacks("Spark"))
    assert caught.value.what.splitlines() == ["no Java", "    install Java", "no Spark", "    install Spark"]
    assert caught.value.exit_status == 3
    assert found == [1]

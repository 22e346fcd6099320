"""From a request to a plan: which launcher, which network, and everything that is wrong at once."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ood_runtime import apps, place, planning
from ood_runtime.allocation import Launch, Task
from ood_runtime.context import Context, Software
from ood_runtime.errors import MissingError, SettingsError
from ood_runtime.plan import Directories, Grant, Place, Plan
from ood_runtime.planning import Prepared, prepare
from ood_runtime.request import Request
from tests.unit.launcher_jobs import with_program
from tests.unit.several_nodes import PRIVATE, ROOT
from tests.unit.several_nodes import context as any_context

OWN = os.uname().nodename
DIRECTORIES = Directories(ROOT, PRIVATE, ROOT / "logs", ROOT / "scratch", ROOT / "sockets")


class SmallApp:
    """Needs Spark, or not, and plans nothing but remembers the context."""

    name, summary, ports, secrets = "small", "", ("web",), {"key": "key"}

    def __init__(self, software: Software) -> None:
        self.software = software
        self.seen: list[Context] = []

    def find(self, settings: object, environment: Mapping[str, str]) -> Software:
        return self.software

    def plan(self, context: Context) -> Plan:
        self.seen.append(context)
        return Plan(app=self.name)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> SmallApp:
    """An app with Spark."""
    app = SmallApp(any_context().software)
    monkeypatch.setattr(apps, "get", lambda name: app)
    return app


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here is localhost; the other nodes reach us at 192.0.2.7."""
    monkeypatch.setattr(place, "find", lambda *_: Place("localhost", "127.0.0.1"))
    monkeypatch.setattr(
        place,
        "cluster_address",
        lambda network, nodes, address: f"{network or '192.0.2.7'}" if len(nodes) > 1 else "127.0.0.1",
    )


def request(*overrides: str, env: Mapping[str, str] | None = None, **values: Any) -> Request:
    environment = {"OOD_RUNTIME_SITE_CONFIG": "/dev/null", **(env or {})}
    return Request("small", environment, overrides=overrides, **values)


def planned(prepared: Prepared, app: SmallApp) -> Context:
    prepared.plan(DIRECTORIES, Grant({"web": 1}, {}, "id"))
    return app.seen[-1]


def test_the_environment_is_that_of_all_programs(app: SmallApp) -> None:
    job = {"PATH": "/usr/bin:/bin", "OF_THE_JOB": "1", "GONE": "1"}
    prepared = prepare(request("environment.shell=export NEW='a b'; unset GONE", env=job))
    context = planned(prepared, app)
    for environment in (context.environment, prepared.outline.environment or {}):
        assert (environment["NEW"], environment["OF_THE_JOB"], "GONE" in environment) == ("a b", "1", False)
    assert context.loaded == {"NEW"}
    assert prepare(request(env=job)).outline.environment is None


def test_a_portal_that_jupyter_does_not_know_is_told(app: SmallApp) -> None:
    def told(*overrides: str, **env: str) -> bool:
        return "portal.origin" in " ".join(prepare(request(*overrides, env=env)).outline.notices)

    app.software = replace(app.software, jupyter=cast(Any, SimpleNamespace()))
    assert told(host="node7")
    assert not told()
    assert not told("portal.origin=https://portal.example", host="node7")
    app.software = replace(app.software, jupyter=None)
    assert not told(host="node7")


def test_an_environment_that_does_not_load_is_told_with_all_else(
    monkeypatch: pytest.MonkeyPatch, app: SmallApp
) -> None:
    def find(*_: object) -> Place:
        raise SettingsError("no such host")

    monkeypatch.setattr(place, "find", find)
    with pytest.raises(SettingsError) as caught:
        prepare(request("environment.shell=exit 9", env={"PATH": "/usr/bin:/bin"}))
    assert "no such host" in caught.value.what
    assert "the shell that loads it has ended with 9" in caught.value.what


@pytest.mark.usefixtures("app")
def test_this_machine_alone() -> None:
    outline = prepare(request()).outline
    assert outline.allocation.launcher == "local"
    assert outline.place == Place("localhost", "127.0.0.1", "127.0.0.1")


def test_who_knows_the_end_of_the_job_is_asked_beside_a_session_that_is_ready(app: SmallApp) -> None:
    prepared = prepare(request())
    allocation = replace(prepared.outline.allocation, ask_end=("squeue", "--jobs=7"))
    asked = replace(prepared, outline=replace(prepared.outline, allocation=allocation))
    grant = Grant({"web": 1}, {}, "id")
    assert prepared.plan(DIRECTORIES, grant).services == ()
    (service,) = asked.plan(DIRECTORIES, grant).services
    assert service.argv == ("squeue", "--jobs=7")
    assert service.background and service.tells_end and not service.essential


@pytest.mark.usefixtures("app")
def test_a_list_of_hosts_is_enough_to_use_ssh() -> None:
    outline = prepare(request("ssh.hosts=[n2, n3]")).outline
    assert outline.allocation.launcher == "ssh"
    assert [node.host for node in outline.allocation.nodes] == [OWN, "n2", "n3"]
    assert outline.place.cluster == "192.0.2.7"


@pytest.mark.usefixtures("app")
def test_who_names_a_launcher_gets_it() -> None:
    assert prepare(request("ssh.hosts=[n2]", "launcher=local")).outline.allocation.launcher == "local"
    with pytest.raises(SettingsError, match=r"ssh\.hosts is empty"):
        prepare(request("launcher=ssh"))


@pytest.mark.usefixtures("app")
def test_hosts_of_the_users_settings_do_not_keep_a_job_from_its_nodes() -> None:
    """ssh.hosts is for machines without a scheduler; in a job its launcher is the right one."""
    env = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": OWN}
    assert prepare(request("ssh.hosts=[n2]", env=env)).outline.allocation.launcher == "slurm"


@pytest.mark.usefixtures("app")
def test_the_network_that_is_asked_for() -> None:
    assert prepare(request("ssh.hosts=[n2]", "spark.network=10.1.0.0/16")).outline.place.cluster == "10.1.0.0/16"


def test_who_has_no_spark_needs_no_network(app: SmallApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app.software = Software()
    monkeypatch.delattr(place, "cluster_address")
    assert prepare(request("ssh.hosts=[n2]")).outline.place.cluster == "127.0.0.1"


def test_a_plan_knows_how_to_run_a_script_elsewhere(app: SmallApp, tmp_path: Path) -> None:
    env = {"PATH": with_program(tmp_path / "bin", "ssh")}
    context = planned(prepare(request("ssh.hosts=[n2, n3]", env=env)), app)
    (one, other) = context.launch(Path("/s/worker.sh"), [Task(1, 1), Task(2, 2)])
    assert isinstance(one, Launch)
    assert (one.argv[0], one.ranks, other.ranks) == (str(tmp_path / "bin/ssh"), (1,), (2,))
    assert {"n2", "n3"} == {launch.argv[-2] for launch in (one, other)}


@pytest.mark.parametrize("name", ["gone", "a file", "x" * 300, "$(id)"])
def test_a_working_directory_that_is_not_there_is_told(app: SmallApp, tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    jupyter: Any = SimpleNamespace()
    app.software = replace(app.software, jupyter=jupyter)
    with pytest.raises(SettingsError, match=r"jupyter\.root_dir: .* is no directory"):
        prepare(request(f"jupyter.root_dir={tmp_path / name}"))
    app.software = replace(app.software, jupyter=None)
    prepare(request(f"jupyter.root_dir={tmp_path / name}"))


def test_a_plan_has_the_jobs_own_umask(app: SmallApp) -> None:
    before = os.umask(0o027)
    try:
        assert planned(prepare(request(allow_root=True)), app).umask == 0o027
    finally:
        os.umask(before)
    assert app.seen[-1].allow_root
    assert app.seen[-1].place.host == "localhost"


def test_everything_that_is_wrong_is_told_at_once(app: SmallApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Software:
        raise MissingError("no Spark")

    def nowhere(*_: object) -> Place:
        raise SettingsError("host: x is not this node")

    monkeypatch.setattr(app, "find", missing)
    monkeypatch.setattr(planning, "place", SimpleNamespace(find=nowhere))
    with pytest.raises((SettingsError, MissingError)) as caught:
        prepare(request("scratch_dir=/nonexistent"))
    assert all(word in caught.value.what for word in ("no Spark", "host: x", "scratch_dir: /nonexistent"))

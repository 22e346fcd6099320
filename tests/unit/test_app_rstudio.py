"""What a session of RStudio Server needs of its places is refused before anything starts; what others add to it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ood_runtime.allocation import Allocation
from ood_runtime.apps import rstudio
from ood_runtime.context import Context, Software
from ood_runtime.errors import OodRuntimeError, SettingsError
from ood_runtime.plan import Directories, Grant, Place, Plan
from ood_runtime.secret import Secret
from ood_runtime.settings import Settings
from tests.golden import rstudio_contexts

Make = Callable[..., Context]


@pytest.fixture
def make(allocation: Allocation, place: Place, tmp_path: Path) -> Make:
    """A session of 1.4 in this directory, with its sockets in that one."""

    def make(session: Path = tmp_path, sockets: Path = Path("/tmp/ood-12345678"), user: str = "ada") -> Context:
        plain = Context(
            settings=Settings(),
            allocation=allocation,
            software=Software(),
            place=place,
            directories=Directories(session, session / "ood-runtime", session / "logs", sockets, sockets),
            grant=Grant({"rstudio": 20004}, {name: Secret("g" * 43) for name in rstudio.SECRETS}),
            environment={"HOME": "/home/ada"},
        )
        context = rstudio_contexts.contexts(plain, sockets)["rstudio"]
        found = context.software.rstudio
        assert found
        return replace(context, software=replace(context.software, rstudio=replace(found, user=user)))

    return make


def plan(context: Context) -> Plan:
    return rstudio.APP.plan(context)


def refused(context: Context) -> str:
    with pytest.raises(SettingsError) as raised:
        plan(context)
    assert "--session-dir" in raised.value.remedy
    return raised.value.what


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'a "b"', "ünïcödé", "a*?[b]", "a\\b", "x" * 200 + "/" + "y" * 200, "=&;|"]
)
def test_long_names_and_odd_ones_work(make: Make, tmp_path: Path, name: str) -> None:
    (service,) = plan(make(tmp_path / name)).services
    assert f"--rsession-path={tmp_path / name}/ood-runtime/rstudio/rsession.sh" in service.argv


@pytest.mark.parametrize("name", ["a$USER", "a#b", "a\nb", "a\rb"])
def test_names_that_rstudio_would_read_otherwise_are_refused(make: Make, tmp_path: Path, name: str) -> None:
    assert "that RStudio does not read as it stands" in refused(make(session=tmp_path / name))
    assert "that RStudio does not read as it stands" in refused(make(sockets=Path("/tmp") / name))


@pytest.mark.parametrize(("sockets", "fits"), [("/tmp/" + "x" * 48, True), ("/tmp/" + "x" * 49, False)])
def test_sockets_have_to_fit(make: Make, sockets: str, fits: bool) -> None:
    """The limit is 107 bytes; 42 are rserver's own, from 2022.07 on (rstudio/rstudio#15024)."""
    context = make(sockets=Path(sockets))
    if fits:
        plan(context)
    else:
        assert "would have a path of 108 bytes; 107 is the limit" in refused(context)


def test_a_long_user_name_counts(make: Make) -> None:
    plan(make(user="first.last@example.org"))
    assert "107 is the limit" in refused(make(user="x" * 70))


@pytest.fixture
def noexec(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each file system were mounted with noexec."""
    flags = os.statvfs("/").f_flag | os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags))


@pytest.mark.usefixtures("noexec")
def test_a_file_system_where_nothing_can_be_run(make: Make) -> None:
    assert "noexec" in refused(make())


@pytest.mark.usefixtures("noexec")
def test_everything_is_told_at_once(make: Make, tmp_path: Path) -> None:
    said = refused(make(session=tmp_path / "a#b", user="x" * 90))
    assert len(said.splitlines()) == 3


def test_others_add_to_the_environment_of_r(make: Make) -> None:
    part = rstudio.server(make(), {"SPARK_HOME": "/opt/spark"}, head_start=0.5)
    (text,) = [file.content for file in part.files if file.name == "rstudio/environment.sh"]
    assert b"export SPARK_HOME=/opt/spark\n" in (text if isinstance(text, bytes) else text.encode())
    assert part.services[0].head_start == 0.5


def test_where_people_find_it(make: Make) -> None:
    context = make()
    assert rstudio.url(context) == "http://localhost:20004/"
    behind = Settings.model_validate({"portal": {"origin": "https://ood.example.org", "rnode_uri": "/pun/rnode"}})
    assert rstudio.url(replace(context, settings=behind)) == "https://ood.example.org/pun/rnode/localhost/20004/"


def test_a_plan_without_a_look_for_the_software_is_a_fault(make: Make) -> None:
    with pytest.raises(OodRuntimeError, match="without looking for RStudio Server"):
        plan(replace(make(), software=Software()))

"""`plan`: everything that a session would write and run, and no secret in any form of it."""

import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ood_runtime import secret
from ood_runtime.cli.plan import command
from ood_runtime.errors import OodRuntimeError
from ood_runtime.secret import Secret
from tests.support.needs import missing


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Every secret that is drawn while the test runs; and a home directory without settings."""
    values: list[str] = []
    for kind in ("password", "key", "hexadecimal"):
        make = getattr(secret, kind)

        def remember(make: object = make) -> Secret:
            assert callable(make)
            value: Secret = make()
            values.append(value.reveal())
            return value

        monkeypatch.setattr(secret, kind, remember)
    for name, value in {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in ("SPARK_HOME", "JAVA_HOME", "SPARK_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    if not (Path(sys.executable).parent / "jupyter-lab").exists():
        missing("needs JupyterLab beside our Python")
    return values


def plan(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["--session-dir", "/nonexistent/a session", *arguments], catch_exceptions=False)


@pytest.mark.parametrize("app", ["jupyter", "jupyter-spark"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_shown(app: str, form: str, drawn: list[str]) -> None:
    output = plan(app, *(["--json"] if form == "json" else [])).output
    assert len(drawn) == (3 if app == "jupyter" else 6)
    assert not [value for value in drawn if value in output]
    assert "$argon2" not in output
    assert "Bearer ey" not in output
    assert output.count("********") >= len(drawn) - 2, "the salt is only in the hash, a gateway's secret unused"


def test_the_environment_is_shown_with_where_it_goes() -> None:
    options = ("--set", "environment.shell=export A_NEW=b API_TOKEN=g33k; unset TMPDIR")
    shown = plan("jupyter-spark", *options).output
    assert "## Environment, loaded once by bash before anything starts\nthe lines of environment.shell\n" in shown
    assert "\n### It changes\nAPI_TOKEN='********'\nA_NEW=b\nunset TMPDIR\n" in shown
    assert "\n### It reaches\njupyter: inherited\nspark-master: inherited\nspark-worker: inherited\n" in shown
    told = json.loads(plan("jupyter", "--json", *options).output)["environment"]
    assert (told["set"], told["unset"]) == ({"API_TOKEN": "********", "A_NEW": "b"}, ["TMPDIR"])
    assert told["reaches"] == ["jupyter: inherited", "kernels and terminals of Jupyter: inherited"]
    assert "## Environment" not in plan("jupyter").output


def test_no_secret_is_written(drawn: list[str], tmp_path: Path) -> None:
    target = tmp_path / "a new" / "directory"
    assert plan("jupyter-spark", "--write", str(target)).exit_code == 0
    files = [path for path in target.rglob("*") if path.is_file()]
    assert target / "spark" / "spark.conf" in files
    for path in files:
        text = path.read_text(errors="replace")
        assert not [value for value in drawn if value in text], path
        assert "$argon2" not in text
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if text.startswith("#!") else 0o600)


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_of_the_user_are_not_shown(form: str) -> None:
    entry = "spark.conf.spark.hadoop.fs.s3a.secret.key=hunter2hunter2"
    output = plan("jupyter-spark", "--set", entry, *(["--json"] if form == "json" else [])).output
    assert "hunter2hunter2" not in output


def test_nothing_is_made(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    plan("jupyter-spark")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/nonexistent").exists()


def test_the_json_has_everything() -> None:
    document = json.loads(plan("jupyter-spark", "--json").output)
    assert [service["name"] for service in document["services"]][:3] == ["jupyter", "spark-master", "spark-worker"]
    assert document["connection"]["password"] == "********"
    assert all(set(file) == {"name", "mode", "secret", "content"} for file in document["files"])
    assert document["services"][2]["after"] == ["spark-master"]


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(OodRuntimeError, match="is not empty"):
        plan("jupyter", "--write", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.touch()
    with pytest.raises(OodRuntimeError, match="--write"):
        plan("jupyter", "--write", str(target))


def test_a_directory_that_cannot_be_made() -> None:
    with pytest.raises(OodRuntimeError, match="--write"):
        plan("jupyter", "--write", "/proc/nothing/here")

"""What people are told about settings: every value with its source, or one with its meaning."""

import json

import pytest

from ood_runtime.errors import SettingsError
from ood_runtime.settings import Loaded, explain, load
from ood_runtime.settings.layers import keys
from ood_runtime.settings.model import Settings


def loaded(*overrides: str) -> Loaded:
    return load([], overrides, {"HOME": "/nonexistent", "OOD_RUNTIME_SITE_CONFIG": "/dev/null"})


def test_every_setting_has_a_row_with_its_source() -> None:
    rows = explain.rows(loaded("spark.worker.memory=4096m", "spark.conf.spark.a=1"))
    by_key = {key: (value, source) for key, value, source in rows}
    assert set(by_key) - {"spark.conf.spark.a"} == set(keys(Settings)) - {"spark.conf"}
    assert by_key["spark.worker.memory"] == ("4g", "--set spark.worker.memory")
    assert by_key["spark.conf.spark.a"] == ("1", "--set spark.conf.spark.a")
    assert by_key["ports.min"] == (20000, "built in")


@pytest.mark.parametrize(
    "entry",
    ["spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key", "spark.x.password", "spark.github.TOKEN"],
)
class TestSecretEntries:
    """People paste `config show` into tickets."""

    def test_are_masked_in_a_row(self, entry: str) -> None:
        rows = explain.rows(loaded(f"spark.conf.{entry}=hunter2"))
        assert "hunter2" not in repr(rows)
        assert (f"spark.conf.{entry}", "********", f"--set spark.conf.{entry}") in rows

    def test_are_masked_when_explained(self, entry: str) -> None:
        assert "hunter2" not in explain.explain("spark.conf", loaded(f"spark.conf.{entry}=hunter2"))


def test_one_key() -> None:
    text = explain.explain("spark.worker.memory", loaded("spark.worker.memory=4g"))
    assert text.splitlines() == [
        "spark.worker.memory",
        "  Memory that it offers for the heaps of executors. Not set: computed from what the job has there.",
        "  type:     amount of memory (512m, 4g) from 512m",
        "  built in: (not set)",
        "  now:      4g  (--set spark.worker.memory)",
        "  variable: OOD_RUNTIME_SPARK__WORKER__MEMORY",
    ]


def test_a_section_explains_all_its_keys() -> None:
    text = explain.explain("ports", loaded())
    assert [line for line in text.splitlines() if line and not line.startswith(" ")] == ["ports.min", "ports.max"]
    assert "integer from 1024 up to 65535" in text


@pytest.mark.parametrize("key", keys(Settings))
def test_every_key_has_a_meaning_and_a_type(key: str) -> None:
    lines = explain.explain(key, loaded()).splitlines()
    assert len(lines[1].strip()) > 10
    assert lines[2].removeprefix("  type:").strip()


def test_an_unknown_key_has_a_near_miss() -> None:
    with pytest.raises(SettingsError, match=r"spark.worker.core is not a setting; did you mean spark.worker.cores"):
        explain.explain("spark.worker.core", loaded())
    with pytest.raises(SettingsError, match=r"^zzz is not a setting$"):
        explain.explain("zzz", loaded())


def test_the_source_of_a_mapping_that_was_set_entry_by_entry() -> None:
    text = explain.explain("spark.conf", loaded("spark.conf.spark.a=1"))
    assert "(built in)" not in text


def test_the_variable_that_is_told_is_the_one_that_is_read() -> None:
    for key in keys(Settings):
        (line,) = [line for line in explain.explain(key, loaded()).splitlines() if "variable:" in line]
        with pytest.raises(SettingsError, match=r"."):
            load([], [], {"HOME": "/x", "OOD_RUNTIME_SITE_CONFIG": "/dev/null", line.split()[1]: "[[{}]]"})


def test_the_schema_takes_what_we_take() -> None:
    schema = json.loads(json.dumps(Settings.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Settings.model_fields)

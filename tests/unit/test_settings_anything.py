"""Whatever stands in a file or a flag: it is read, or refused in words; never a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime.errors import SettingsError
from ood_runtime.settings import files as reader
from ood_runtime.settings import load
from ood_runtime.settings.layers import keys
from ood_runtime.settings.model import Settings
from tests.unit.settings_files import Files

# --- whatever comes ---

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@given(TEXT)
def test_a_file_of_anything_is_read_or_refused_in_words(text: str) -> None:
    values, places, problems = reader.parse(text, "f.yml", Settings)
    assert isinstance(values, dict)
    assert isinstance(places, dict)
    assert all(problem.startswith("f.yml") for problem in problems)


@given(st.sampled_from(keys(Settings)), TEXT)
def test_a_flag_of_anything_is_taken_or_refused_in_words(key: str, value: str) -> None:
    try:
        loaded = load([], [f"{key}={value}"], {"HOME": "/nonexistent", "OOD_RUNTIME_SITE_CONFIG": "/dev/null"})
    except SettingsError as error:
        assert error.what.startswith(f"--set {key}: ")
    else:
        assert loaded.sources or value.strip() == "{}"


@pytest.mark.parametrize(
    "overrides",
    [("spark.worker=5", "spark.worker.cores=4"), ("host=a", "host.b=4"), ("spark=", "spark.python=x")],
)
def test_a_value_in_the_place_of_a_section(files: Files, overrides: tuple[str, ...]) -> None:
    assert all(problem.startswith("--set ") for problem in files.problems(*overrides))


def test_a_truth_is_no_number(files: Files) -> None:
    """YAML has many words for true; `cores: on` is a mistake, not one core."""
    (problem,) = files.problems("spark.worker.cores=on")
    assert "spark.worker.cores: " in problem


def test_yaml_that_contains_itself(files: Files) -> None:
    (problem,) = files.problems(user="spark: &x\n  conf: *x\n")
    assert problem.startswith(f"{files.user}:")

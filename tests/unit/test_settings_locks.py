"""What a site locks, and what no layer may change: the entries of spark.conf that secure the cluster."""

import pytest

from ood_runtime.settings.model import PROTECTED
from tests.unit.settings_files import PROTECTED_ENTRIES, Files, cores


@pytest.mark.parametrize("lock", ["spark.worker.cores", "spark.worker", "spark"])
def test_a_locked_key_or_section(files: Files, lock: str) -> None:
    site = f"locked: [{lock}]\n{cores(2)}"
    assert files.load(site=site, user="host: a").settings.spark.worker.cores == 2
    problems = files.problems("spark.worker.cores=5", site=site, user=cores(4), SPARK__WORKER__CORES="4")
    places = [f"{files.user}:3", "$OOD_RUNTIME_SPARK__WORKER__CORES", "--set spark.worker.cores"]
    expected = [
        f"{place}: spark.worker.cores is locked by {files.site}; remove it, or ask your administrators"
        for place in places
    ]
    assert problems == expected


@pytest.mark.parametrize("override", ["spark={worker: {cores: 9}}", "spark.worker={memory: 4g}"])
def test_a_locked_key_cannot_be_changed_through_its_section(files: Files, override: str) -> None:
    (problem,) = files.problems(override, site="locked: [spark.worker.cores]")
    assert "is locked by" in problem


def test_locked_entries_of_spark_conf(files: Files) -> None:
    (problem,) = files.problems("spark.conf.spark.a=1", site="locked: [spark.conf]")
    assert problem.startswith("--set spark.conf.spark.a: spark.conf.spark.a is locked by")


def test_a_lock_for_what_is_no_setting(files: Files) -> None:
    (problem,) = files.problems(site="host: a\nlocked: [spark.wrker]\n")
    assert problem == f"{files.site}:2: locked: spark.wrker is not a setting"


@pytest.mark.parametrize(
    "text",
    [
        "locked: spark",
        "locked: {a: b}",
        "locked: 5",
        "locked: [1]",
        "locked: [[a]]",
    ],
)
def test_a_lock_of_the_wrong_type_is_told_in_words(files: Files, text: str) -> None:
    problems = files.problems(site=text, user="host: a")
    assert any(problem.startswith(f"{files.site}:1: locked") for problem in problems)


@pytest.mark.parametrize("value", ["true", "false"])
def test_only_the_site_may_open_what_is_secured(files: Files, value: str) -> None:
    for layers in ({"user": f"spark: {{allow_insecure: {value}}}"}, {"SPARK__ALLOW_INSECURE": value}):
        (problem,) = files.problems(**layers)
        assert problem.endswith("spark.allow_insecure can only be set in the site file")
    (problem,) = files.problems(f"spark.allow_insecure={value}")
    assert problem == "--set spark.allow_insecure: spark.allow_insecure can only be set in the site file"
    (problem,) = files.problems("locked=[]")
    assert problem == "--set locked: locked can only be set in the site file"


@pytest.mark.parametrize("entry", PROTECTED_ENTRIES)
def test_no_layer_may_weaken_the_cluster(files: Files, entry: str) -> None:
    text = f"spark:\n  conf:\n    {entry}: x\n"
    problems = files.problems(
        f"spark.conf.{entry}=x", site=text, user=text, session=text, SPARK__CONF=f"{{{entry}: x}}"
    )
    places = [f"{path}:3" for path in (files.site, files.user, files.session)]
    places += ["$OOD_RUNTIME_SPARK__CONF", f"--set spark.conf.{entry}"]
    assert [problem.partition(": spark.conf: ")[0] for problem in problems] == places
    assert all(f"{entry} secures the cluster" in problem for problem in problems)


def test_a_site_can_allow_it(files: Files) -> None:
    loaded = files.load("spark.conf.spark.authenticate=false", site="spark: {allow_insecure: true}")
    assert loaded.settings.spark.conf == {"spark.authenticate": "false"}


@pytest.mark.parametrize("entry", ["spark.app.name", "spark.ui.port", "spark.masterful", "spark.sql.x", "spark.io.x"])
def test_other_entries_are_free(files: Files, entry: str) -> None:
    assert not PROTECTED.match(entry)
    assert files.load(f"spark.conf.{entry}=1").settings.spark.conf == {entry: "1"}


def test_an_entry_needs_a_name(files: Files) -> None:
    """Without a name its value would be read as an entry, which nothing has looked at."""
    files.problems("spark.conf={'': 'spark.ssl.enabled=false'}")

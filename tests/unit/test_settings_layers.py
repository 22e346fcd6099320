"""Where settings come from: the order of the layers, and every error of all of them at once."""

from pathlib import Path
from typing import Any

import pytest

from ood_runtime.errors import SettingsError
from ood_runtime.settings import load
from ood_runtime.settings.layers import RESERVED
from ood_runtime.settings.model import Settings
from ood_runtime.settings.sizes import GIB, MIB
from tests.unit.settings_files import Files, cores


def test_nothing_set_gives_what_is_built_in(files: Files) -> None:
    loaded = files.load()
    assert loaded.settings == Settings()
    assert loaded.sources == {}


def test_each_layer_is_stronger_than_the_one_before(files: Files) -> None:
    layers: dict[str, Any] = {}
    seen = []
    for name, value in (("site", cores(1)), ("user", cores(2)), ("session", cores(3))):
        layers[name] = value
        seen.append(files.load(**layers))
    layers["SPARK__WORKER__CORES"] = "4"
    seen.append(files.load(**layers))
    seen.append(files.load("spark.worker.cores=5", **layers))
    assert [loaded.settings.spark.worker.cores for loaded in seen] == [1, 2, 3, 4, 5]
    assert [loaded.sources["spark.worker.cores"] for loaded in seen] == [
        f"{files.site}:3",
        f"{files.user}:3",
        f"{files.session}:3",
        "$OOD_RUNTIME_SPARK__WORKER__CORES",
        "--set spark.worker.cores",
    ]


def test_the_last_of_several_config_files_and_flags_wins(files: Files, tmp_path: Path) -> None:
    more = tmp_path / "more.yml"
    more.write_text(cores(7))
    assert files.load(session=cores(6), config=(files.session, more)).settings.spark.worker.cores == 7
    assert files.load(session=cores(6), config=(more, files.session)).settings.spark.worker.cores == 6
    assert files.load("spark.worker.cores=8", "spark.worker.cores=9").settings.spark.worker.cores == 9


def test_sections_are_merged_key_by_key(files: Files) -> None:
    loaded = files.load(
        "spark.conf.spark.c=3",
        site="spark: {worker: {cores: 2}, conf: {spark.a: 1, spark.b: 1}}",
        user="spark: {worker: {memory: 4g}, conf: {spark.b: 2}}",
    )
    worker = loaded.settings.spark.worker
    assert (worker.cores, worker.memory) == (2, 4 * GIB)
    assert loaded.settings.spark.conf == {"spark.a": "1", "spark.b": "2", "spark.c": "3"}


def test_null_goes_back_to_what_is_built_in(files: Files) -> None:
    assert files.load(site="host: node1", user="host: null").settings.host is None


def test_home_config_without_xdg(files: Files, tmp_path: Path) -> None:
    path = tmp_path / ".config" / "ood-runtime" / "config.yml"
    path.parent.mkdir(parents=True)
    path.write_text("host: node7")
    del files.environment["XDG_CONFIG_HOME"]
    assert files.load().settings.host == "node7"


def test_all_errors_of_all_layers_at_once_with_their_lines(files: Files) -> None:
    problems = files.problems(
        "spark.worker.coress=4",
        "nonsense",
        site="ports:\n  min: 80\n",
        user="spark:\n  driver:\n    memory: lots\nhots: x\n",
        session="timeouts:\n  ready: soon\n",
        JUPYTER__INTERFACE="vi",
    )
    starts = [
        f"{files.site}:2: ports.min: ",
        f"{files.user}:3: spark.driver.memory: ",
        f"{files.user}:4: hots is not a setting; did you mean host?",
        f"{files.session}:2: timeouts.ready: ",
        "$OOD_RUNTIME_JUPYTER__INTERFACE: jupyter.interface: ",
        "--set nonsense: should be KEY=VALUE",
        "--set spark.worker.coress: spark.worker.coress is not a setting; did you mean spark.worker.cores?",
    ]
    assert len(problems) == len(starts), problems
    for start in starts:
        assert any(problem.startswith(start) for problem in problems), (start, problems)


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("ports.min=80", "greater than or equal to 1024"),
        ("ports.max=70000", "less than or equal to 65535"),
        ("timeouts.ready=0", "greater than 0"),
        ("timeouts.ready=.nan", "3600"),
        ("timeouts.stop=1", "greater than or equal to 2"),
        ("spark.worker.cores=0", "greater than or equal to 1"),
        ("spark.worker.cores=1.5", "integer"),
        ("spark.worker.cores=many", "integer"),
        ("spark.worker.memory=100m", "greater than"),
        ("spark.worker.memory=4q", "512m or 4g"),
        ("spark.wait_for_workers=0", "share such as 80%"),
        ("spark.wait_for_workers=101%", "share such as 80%"),
        ("spark.home=relative/path", "absolute path"),
        ("jupyter.interface=emacs", "'lab' or 'notebook'"),
        ("jupyter.fast_import=perhaps", "boolean"),
        ("portal.origin=ood.example.org", "https://HOST"),
        ("portal.origin=https://ood.example.org/", "no path"),
        ("portal.origin='*'", "https://HOST"),
        ("portal.node_uri=node", "match pattern"),
        ("portal.node_uri=/node/", "match pattern"),
        ("host=node_1;reboot", "match pattern"),
        ("spark.conf=5", "dictionary"),
        ("spark.class_data_dirs=/a", "list"),
        ("spark.conf={a: [1]}", "string"),
    ],
)
def test_wrong_values_say_what_would_be_right(files: Files, override: str, reason: str) -> None:
    key = override.partition("=")[0]
    (problem,) = files.problems(override)
    assert problem.startswith(f"--set {key}: {key}")
    assert reason in problem


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("spark.wait_for_workers=all", "all"),
        ("spark.wait_for_workers=3", "3"),
        ("spark.wait_for_workers=80%", "80%"),
        ("portal.origin=https://OOD.example.org:8443", "https://ood.example.org:8443"),
        ("spark.cores_per_application=3", "3"),
        ("jupyter.fast_import=no", False),
        ("spark.driver.memory=2g", 2 * GIB),
        ("host=01234", "01234"),
        ("spark.class_data=off", "off"),
    ],
)
def test_values_are_taken_as_they_are_meant(files: Files, override: str, value: object) -> None:
    found: Any = files.load(override).settings
    for part in override.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value


def test_a_tilde_is_the_home_directory(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert files.load("spark.home=~/spark").settings.spark.home == Path("/home/ada/spark")


def test_ports_in_the_wrong_order(files: Files) -> None:
    (problem,) = files.problems(user="host: a\nports:\n  min: 30000\n  max: 25000\n")
    assert problem.startswith(f"{files.user}:3: ports: ")
    assert "larger than ports.max (25000)" in problem


def test_ports_in_the_wrong_order_over_two_layers_name_their_places(files: Files) -> None:
    (problem,) = files.problems(site="ports: {min: 30000}", user="ports: {max: 25000}")
    assert str(files.site) in problem or str(files.user) in problem


def test_broken_yaml_tells_the_line(files: Files) -> None:
    (problem,) = files.problems(user="host: a\nspark: [1, 2\n\nports: }\n")
    assert problem.startswith(f"{files.user}:4: not valid YAML: ")


@pytest.mark.parametrize("text", ["a: b: c", "host: 'x", "\t", "host: !!python/object/apply:os.system [id]", "*x", "{"])
def test_broken_yaml_is_an_error_not_a_crash(files: Files, text: str) -> None:
    (problem,) = files.problems(session=text)
    assert problem.startswith(f"{files.session}:1: not valid YAML")


@pytest.mark.parametrize("text", ["- a\n", "just words\n", "42\n"])
def test_a_file_that_is_no_mapping(files: Files, text: str) -> None:
    (problem,) = files.problems(user=text)
    assert problem.startswith(f"{files.user}:1: should be a mapping")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# nothing here\n",
        "{}\n",
        "---\n",
        "---\n# host: a\n",
    ],
)
def test_a_file_without_settings(files: Files, text: str) -> None:
    assert files.load(user=text).settings == Settings()


def test_a_section_whose_entries_are_commented_out(files: Files) -> None:
    loaded = files.load(user="spark:\n  worker:\n    # cores: 4\nports:\n#  min: 1\n", site=cores(3))
    assert loaded.settings.spark.worker.cores == 3


def test_free_entries_that_are_commented_out(files: Files) -> None:
    assert files.load(user="spark:\n  conf:\n    # spark.a: 4\n").settings.spark.conf == {}


def test_a_key_that_is_given_twice(files: Files) -> None:
    problems = files.problems(user="spark:\n  worker: {cores: 1}\nhost: a\nspark:\n  python: x\nhost: b\n")
    assert problems == [f"{files.user}:4: spark is given twice", f"{files.user}:6: host is given twice"]


def test_a_file_that_is_not_utf8(files: Files) -> None:
    files.session.write_bytes(b"host: n\xf6de\n")
    with pytest.raises(SettingsError, match=rf"{files.session}: cannot be read: .*utf-8"):
        load([files.session], [], files.environment)


@pytest.mark.parametrize("named", ["config", "site"])
def test_a_file_that_was_named_and_is_not_there(files: Files, tmp_path: Path, named: str) -> None:
    gone = tmp_path / "gone.yml"
    environment = files.environment | ({"OOD_RUNTIME_SITE_CONFIG": str(gone)} if named == "site" else {})
    with pytest.raises(SettingsError, match=f"^{gone}: no such file$"):
        load([gone] if named == "config" else [], [], environment)


def test_a_directory_in_the_place_of_a_file(files: Files, tmp_path: Path) -> None:
    (problem,) = files.problems(config=(tmp_path,))
    assert problem.startswith(f"{tmp_path}: cannot be read: ")


def test_variables_reach_every_depth_and_take_yaml(files: Files) -> None:
    loaded = files.load(
        HOST="node3",
        PORTS__MIN="21000",
        SPARK__EXECUTOR__IDLE_SECONDS="5",
        SPARK__CLASS_DATA_DIRS="[/a, /b]",
        SPARK__CONF="{spark.a: yes, spark.b: 1}",
    )
    settings = loaded.settings
    assert (settings.host, settings.ports.min, settings.spark.executor.idle_seconds) == ("node3", 21000, 5)
    assert settings.spark.class_data_dirs == [Path("/a"), Path("/b")]
    assert settings.spark.conf == {"spark.a": "true", "spark.b": "1"}


def test_unknown_variables_are_errors_and_our_own_are_not(files: Files) -> None:
    for name in RESERVED - {"SITE_CONFIG"}:
        files.environment[f"OOD_RUNTIME_{name}"] = "x"
    assert files.load().settings == Settings()
    (problem,) = files.problems(SPARK__WORKERS__CORES="4")
    assert problem.startswith("$OOD_RUNTIME_SPARK__WORKERS__CORES: spark.workers")


def test_a_flag_for_an_entry_of_spark_conf_keeps_its_dots(files: Files) -> None:
    loaded = files.load("spark.conf.spark.sql.shuffle.partitions=8", "spark.conf.spark.b=a=b")
    assert loaded.settings.spark.conf == {"spark.sql.shuffle.partitions": "8", "spark.b": "a=b"}


def test_a_value_that_is_no_yaml(files: Files) -> None:
    (problem,) = files.problems("host=[")
    assert problem.startswith("--set host: cannot be read as a value: '['")


def test_sizes_by_the_names_that_spark_has_for_them(files: Files) -> None:
    found = files.load(
        "spark.conf.spark.cores.max=3",
        site="spark: {driver: {memory: 2g}}",
        session="spark:\n  conf:\n    spark.driver.memory: 3000\n    spark.executor.cores: 2\n    spark.a: b\n",
        SPARK__CONF="{spark.executor.memory: 1g}",
    )
    spark = found.settings.spark
    assert (spark.driver.memory, spark.executor.memory, spark.executor.cores) == (3000 * MIB, GIB, 2)
    assert (spark.cores_per_application, spark.conf) == ("3", {"spark.a": "b"})
    assert found.sources["spark.driver.memory"] == f"{files.session}:3"
    assert found.sources["spark.executor.memory"] == "$OOD_RUNTIME_SPARK__CONF"


def test_sizes_by_both_names_or_with_a_lock(files: Files) -> None:
    (problem,) = files.problems(user="spark: {driver: {memory: 2g}, conf: {spark.driver.memory: 3g}}")
    assert problem.startswith(f"{files.user}:1: spark.conf: spark.driver.memory is the setting spark.driver.memory")
    (problem,) = files.problems("spark.conf.spark.executor.memory=9g", site="locked: [spark.executor]")
    assert "spark.executor.memory is locked by" in problem
    (problem,) = files.problems("spark.conf.spark.executor.memory=9g", site="locked: [spark.conf, ports.min]")
    assert "spark.conf.spark.executor.memory is locked by" in problem
    problems = files.problems(user="spark: {driver: 5, conf: {spark.driver.memory: 3g}}")
    assert all(problem.startswith(f"{files.user}:1: ") for problem in problems)

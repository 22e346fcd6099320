"""What reaches the job and its scheduler from an app that ``ood-runtime init`` wrote, whatever people type."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ood_runtime.errors import SettingsError
from ood_runtime.portal_app import APPS, SCHEDULERS
from ood_runtime.settings import Settings, load
from tests.portal.rendering import GOOD, HOSTILE, VERSIONS, render, write_app
from tests.support.needs import need

# --- what reaches the job ---


@pytest.mark.parametrize("app", APPS)
def test_what_was_typed_reaches_the_session_as_text(apps: dict[str, Path], tmp_path: Path, app: str) -> None:
    roots = [tmp_path / f"{version}-{number}" for version in VERSIONS for number in range(len(HOSTILE))]
    requests = []
    for number, root in enumerate(roots):
        root.mkdir()
        value = HOSTILE[number % len(HOSTILE)]
        fields = {**GOOD, "working_dir": value, "spark_conf": f"spark.app.name {value}", "bc_account": value}
        version = VERSIONS[number // len(HOSTILE)]
        requests.append({"what": "stage", "app": apps[app], "root": root, "version": version, "fields": fields})
    assert render(*requests) == [{}] * len(requests)
    for number, root in enumerate(roots):
        value = HOSTILE[number % len(HOSTILE)].strip()
        settings = yaml.safe_load((root / "settings.yml").read_text())
        if app.startswith("jupyter"):
            assert settings["jupyter"] == {"root_dir": value}
        else:
            assert settings["rstudio"]["session_options"] == {"session-default-working-dir": value}
        if app.endswith("spark"):
            assert settings["spark"]["conf"]["spark.app.name"] == value.splitlines()[0].strip()
        shell = "".join((root / name).read_text() for name in ("before.sh", "script.sh", "after.sh"))
        assert "PWNED" not in shell
        assert "alert" not in shell
        assert (root / "script.sh").stat().st_mode & 0o111


@pytest.mark.parametrize("app", APPS)
def test_no_field_reaches_what_it_is_not_for(apps: dict[str, Path], tmp_path: Path, app: str) -> None:
    """Whatever is in a field: refused by its name, or text for the session, which tells the setting's place."""
    fields = yaml.safe_load((apps[app] / "form.yml").read_text())["form"]
    typed = [(field, value) for field in fields for value in HOSTILE]
    roots = [tmp_path / str(number) for number in range(len(typed))]
    asked = [{"what": "submit", "app": apps[app], "root": tmp_path, "fields": GOOD}]
    for root, (field, value) in zip(roots, typed, strict=True):
        root.mkdir()
        common = {"app": apps[app], "root": root, "fields": {**GOOD, field: value}}
        asked += [{"what": "submit", **common}, {"what": "stage", **common}]
    plain, *answers = render(*asked)
    refused, loaded, told = 0, 0, 0
    for root, (field, value), submitted, staged in zip(roots, typed, answers[::2], answers[1::2], strict=True):
        errors = [error for error in (submitted.get("error"), staged.get("error")) if error]
        if errors:
            assert all(error.startswith(f"ArgumentError: {field}: ") for error in errors), (value, errors)
            refused += 1
            continue
        assert submitted == plain, (field, value)
        assert not any("PWNED" in path.read_text() for path in root.glob("*.sh"))
        try:
            _load(root)
            loaded += 1
        except SettingsError as error:
            assert re.match(r".*/settings\.yml:\d+: (jupyter|rstudio|spark)\.", error.what), (field, value, error.what)
            told += 1
    assert min(refused, loaded, told) > 5


def test_modules_that_are_none_are_refused_before_anything_is_submitted(apps: dict[str, Path], root: Path) -> None:
    wrong = [value for value in HOSTILE if not value.startswith("a\n")]  # those would be three names
    asked = [
        {"what": "stage", "app": apps["jupyter-spark"], "root": root, "fields": {**GOOD, "extra_modules": value}}
        for value in wrong
    ]
    for value, answer in zip(wrong, render(*asked), strict=True):
        assert "extra_modules: no names of modules" in answer.get("error", ""), value


def test_modules_are_loaded_before_the_session(apps: dict[str, Path], root: Path) -> None:
    fields = {**GOOD, "extra_modules": " gcc/12.2  py-arrow "}
    assert render({"what": "stage", "app": apps["jupyter-spark"], "root": root, "fields": fields}) == [{}]
    settings = yaml.safe_load((root / "settings.yml").read_text())
    assert settings["environment"] == {"more_modules": ["gcc/12.2", "py-arrow"]}
    job = 'module() { echo "$@"; }; source ./before.sh'
    done = subprocess.run(["bash", "-c", job], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["load spark/4.0"]
    refused = 'module() { return 1; }; source ./before.sh; echo "went on"'
    done = subprocess.run(["bash", "-c", refused], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "module load failed: spark/4.0" in done.stderr


def test_the_form_becomes_settings(apps: dict[str, Path], root: Path) -> None:
    conf = "# comment\nspark.a 1\n\nspark.b=2 3\nspark.c = d e\nspark.d"
    fields = {**GOOD, "workers_per_node": "2", "driver_only": "1", "fresh_workspace": "1", "spark_conf": conf}
    fields["sharing"] = "connect"
    render({"what": "stage", "app": apps["jupyter-spark"], "root": root, "fields": fields})
    assert yaml.safe_load((root / "settings.yml").read_text()) == {
        "jupyter": {"workspace": "session"},
        "spark": {
            "driver_only": True,
            "workers_per_node": 2,
            "sharing": "connect",
            "conf": {"spark.a": "1", "spark.b": "2 3", "spark.c": "d e", "spark.d": ""},
        },
    }
    loaded = _load(root)
    assert (loaded.spark.workers_per_node, loaded.spark.driver_only, loaded.jupyter.workspace) == (2, True, "session")


@pytest.mark.parametrize("app", ["rstudio", "rstudio-spark"])
def test_the_form_of_rstudio_becomes_settings(tmp_path: Path, root: Path, app: str) -> None:
    written = write_app(tmp_path / "app", app, command="/opt/rstudio/bin/rserver", portal="https://portal.example.org")
    fields = {**GOOD, "nodes": "3", "workers_per_node": "2", "fresh_workspace": "1", "working_dir": " ~/my data "}
    render({"what": "stage", "app": written, "root": root, "fields": fields})
    loaded = _load(root)
    assert (loaded.rstudio.command, loaded.rstudio.workspace) == ("/opt/rstudio/bin/rserver", "session")
    assert loaded.rstudio.session_options == {"session-default-working-dir": "~/my data"}
    assert loaded.portal.origin == "https://portal.example.org"
    assert loaded.spark.workers_per_node == (2 if app == "rstudio-spark" else 1)


@pytest.mark.parametrize(
    ("app", "place"),
    [
        ("jupyter-spark", "settings.yml:3: jupyter.root_dir"),
        ("rstudio-spark", "settings.yml:4: rstudio.session_options"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(apps: dict[str, Path], root: Path, app: str, place: str) -> None:
    fields = {**GOOD, "working_dir": "not/absolute", "spark_conf": "= x"}
    render({"what": "stage", "app": apps[app], "root": root, "fields": fields})
    with pytest.raises(SettingsError) as told:
        _load(root)
    assert place in told.value.what
    assert "should be an absolute path" in told.value.what
    assert "spark.conf" in told.value.what


@pytest.mark.parametrize("value", HOSTILE)
def test_a_way_to_share_that_the_form_does_not_offer_is_told(apps: dict[str, Path], root: Path, value: str) -> None:
    render({"what": "stage", "app": apps["jupyter-spark"], "root": root, "fields": {**GOOD, "sharing": value}})
    assert yaml.safe_load((root / "settings.yml").read_text())["spark"]["sharing"] == value.strip()
    with pytest.raises(SettingsError, match=r"settings\.yml:\d+: spark\.sharing"):
        _load(root)


@pytest.mark.parametrize("app", APPS)
def test_a_directory_that_nobody_could_mean_is_refused_or_taken_as_it_is(
    apps: dict[str, Path], tmp_path: Path, app: str
) -> None:
    roots = [tmp_path / str(number) for number in range(len(HOSTILE))]
    for root in roots:
        root.mkdir()
    asked = [
        {"what": "stage", "app": apps[app], "root": root, "fields": {**GOOD, "working_dir": f"/data/{value}"}}
        for root, value in zip(roots, HOSTILE, strict=True)
    ]
    assert render(*asked) == [{}] * len(asked)
    for root, value in zip(roots, HOSTILE, strict=True):
        wanted = f"/data/{value}".strip()
        try:
            loaded = _load(root)
        except SettingsError as told:
            assert (
                "settings.yml:4: rstudio.session_options.session-default-working-dir: should be one line" in told.what
            )
            assert app.startswith("rstudio") and {"#", "\n"} & set(wanted)
        else:
            options = loaded.rstudio.session_options
            assert wanted in (str(loaded.jupyter.root_dir), options.get("session-default-working-dir"))


def _load(root: Path) -> Settings:
    return load([root / "settings.yml"], [], {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"}).settings


@pytest.mark.parametrize("app", APPS)
def test_a_form_with_fewer_fields_still_works(apps: dict[str, Path], root: Path, app: str) -> None:
    staged, submitted = render(
        {"what": "stage", "app": apps[app], "root": root, "fields": {}},
        {"what": "submit", "app": apps[app], "root": root, "fields": {}},
    )
    assert staged == {}
    assert "--nodes=1" in submitted["value"]["script"]["native"]


# --- what reaches the scheduler ---

NATIVE = {
    "slurm": ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=4", "--mem=16G", "--signal=B:TERM@60", "--no-kill"],
    "pbs": ["-l", "select=2:ncpus=4:mem=16gb", "-l", "place=scatter"],
    "torque": ["-l", "nodes=2:ppn=4", "-l", "pmem=4096mb"],
    "lsf": ["-n", "8", "-R", "span[ptile=4] rusage[mem=16GB]", "-wt", "1", "-wa", "TERM"],
    "gridengine": ["-S", "/bin/bash", "-pe", "mpi", "8", "-l", "mem_free=16G", "-notify"],
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_gets_its_own_words(tmp_path: Path, scheduler: str) -> None:
    app = write_app(tmp_path / "app", "jupyter-spark", scheduler=scheduler)
    (answer,) = render({"what": "submit", "app": app, "root": tmp_path, "fields": GOOD})
    assert answer["value"] == {"batch_connect": {"template": "basic"}, "script": {"native": NATIVE[scheduler]}}
    _lint(answer["text"])


@pytest.mark.parametrize("field", ["nodes", "num_cores", "memory", "workers_per_node"])
def test_a_number_that_is_none_is_refused(apps: dict[str, Path], root: Path, field: str) -> None:
    wrong = [*HOSTILE, "0", "-1", "1.5", "1e3", "0x10", "9999999", "1\n2", "٣"]
    app = apps["jupyter-spark"]
    asked = [{"what": "submit", "app": app, "root": root, "fields": {**GOOD, field: value}} for value in wrong]
    for value, answer in zip(wrong, render(*asked), strict=True):
        assert f"{field}: give a whole number from 1" in answer.get("error", ""), value


def test_a_driver_alone_needs_two_nodes(apps: dict[str, Path], root: Path) -> None:
    fields = {**GOOD, "nodes": "1", "driver_only": "1"}
    (answer,) = render({"what": "submit", "app": apps["rstudio-spark"], "root": root, "fields": fields})
    assert "needs two or more nodes" in answer["error"]


# --- the files are good ones ---


def _lint(text: str) -> None:
    done = subprocess.run([need("yamllint"), "-s", "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{text}"


@pytest.mark.parametrize("app", APPS)
def test_the_files_are_clean(apps: dict[str, Path], root: Path, app: str) -> None:
    for name in ("form.yml", "manifest.yml"):
        _lint((apps[app] / name).read_text())
    (form,) = render({"what": "form", "app": apps[app], "root": root})
    assert set(form["value"]["attributes"]) == set(form["value"]["form"])
    render({"what": "stage", "app": apps[app], "root": root, "fields": {**GOOD, "extra_modules": "gcc"}})
    scripts = [root / name for name in ("before.sh", "script.sh", "after.sh")]
    subprocess.run([need("shellcheck"), "-S", "style", "-e", "SC2317", *scripts], check=True)
    for template in apps[app].rglob("*.erb"):
        code = subprocess.run([need("erb"), "-x", "-T", "-", template], capture_output=True, check=True).stdout
        done = subprocess.run([need("ruby"), "-c"], input=code, capture_output=True, check=False)
        assert done.returncode == 0, f"{template}: {done.stderr.decode()}"

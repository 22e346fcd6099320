"""Commands in a container: their words, the variables that come along, and what the ood-runtime in an image answers."""

import csv
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ood_runtime import __version__, apps, container, container_software, spark_workers
from ood_runtime.allocation import Allocation, Node
from ood_runtime.container import Container
from ood_runtime.context import Context, Software
from ood_runtime.errors import MissingError
from ood_runtime.plan import Part
from ood_runtime.service import Service
from ood_runtime.settings import Settings
from ood_runtime.spark_home import Spark
from ood_runtime.spark_sizes import compute
from tests.golden import test_plans as golden
from tests.unit import several_nodes

BOX = Container(Path("/usr/bin/apptainer"), Path("/images/js.sif"), ("--nv",), ("/apps", "/data:/mnt:ro"))
NAMES = ["plain", "a b", "it's", 'say "x"', "$HOME", "päckchen", "back\\slash", "a,b", "a:b", "a\tb"]


def test_the_words_before_a_command() -> None:
    words = BOX.words([Path("/home/ada"), Path("/scratch"), Path("/home/ada")], own_tmp=Path("/scratch/tmp"))
    binds: tuple[str, ...] = ("--bind", "/apps", "--bind", "/data:/mnt:ro", "--bind", "/scratch/tmp:/tmp")
    binds += ("--bind", "/home/ada:/home/ada", "--bind", "/scratch:/scratch")
    assert words == ("/usr/bin/apptainer", "exec", "--nv", *binds, "/images/js.sif")


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_bound_as_they_are(name: str) -> None:
    option, value = BOX.words([Path("/data", name)])[-3:-1]
    if option == "--bind":
        assert value == f"/data/{name}:/data/{name}" and not set(name) & set(',:"\\')
    else:  # one line of CSV, as Apptainer reads it
        assert option == "--mount"
        assert next(csv.reader([value])) == ["type=bind", f"source=/data/{name}", f"destination=/data/{name}"]


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("/apps", ("--bind", "/apps")),
        ("/apps:/opt/apps:ro", ("--bind", "/apps:/opt/apps:ro")),
        ("/my apps", ("--bind", "/my apps")),
        ('/my "apps"', ("--mount", '"type=bind","source=/my ""apps""","destination=/my ""apps"""')),
        ("/a,b:/c d:ro", ("--mount", '"type=bind","source=/a,b","destination=/c d","ro"')),
    ],
)
def test_binds_as_people_write_them(bind: str, words: tuple[str, ...]) -> None:
    assert container.written(bind) == words


def test_a_service_is_told_its_variables_after_those_of_the_image() -> None:
    service = Service("s", ("java", "-version"), 1.0, environment={"JAVA_HOME": "/j", "R_PROFILE": None, "B%%": "f"})
    inside = container.enter(BOX, service, [Path("/home/ada")])
    assert inside.argv == (*BOX.words([Path("/home/ada")]), "java", "-version")
    assert inside.environment["APPTAINERENV_JAVA_HOME"] == inside.environment["SINGULARITYENV_JAVA_HOME"] == "/j"
    assert inside.environment["R_PROFILE"] is None and "APPTAINERENV_R_PROFILE" not in inside.environment
    assert "APPTAINERENV_B%%" not in inside.environment
    # A user's own would hide the session's processes from the session.
    assert inside.environment["APPTAINER_CLEANENV"] is inside.environment["SINGULARITY_CLEANENV"] is None


@pytest.mark.parametrize(
    ("setting", "gpus", "environment", "options"),
    [
        ("auto", 0, {}, ()),
        ("auto", 2, {}, ("--nv",)),
        ("auto", 2, {"ROCR_VISIBLE_DEVICES": "0,1"}, ("--rocm",)),
        ("none", 2, {}, ()),
        ("rocm", 0, {}, ("--rocm",)),
    ],
)
def test_graphics_processors_are_those_of_the_job(
    setting: str, gpus: int, environment: Mapping[str, str], options: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "image").touch()
    (tmp_path / "apptainer").touch(0o755)
    settings = Settings.model_validate(
        {"environment": {"container": str(tmp_path / "image"), "gpus": setting, "binds": ["~/x:/y", "$A/${AB}"]}}
    )
    allocation = Allocation("slurm", "1", (Node("n", 1, 1, gpus),), tmp_path)
    variables = {"PATH": str(tmp_path), "HOME": "/home/ada", "A": "/a", "AB": "ab", **environment}
    found = container_software.find(settings, variables, allocation)
    assert found.options == options
    assert found.binds == ("/home/ada/x:/y", "/a/ab")
    assert found.program == tmp_path / "apptainer"


def test_what_cannot_be_entered_is_told(tmp_path: Path) -> None:
    nowhere = Settings.model_validate({"environment": {"container": "/no/where.sif"}})
    allocation = Allocation("local", "", (Node("n", 1, 1),), tmp_path)
    with pytest.raises(MissingError, match=r"there is no /no/where\.sif"):
        container_software.find(nowhere, {"PATH": str(tmp_path)}, allocation)


def test_an_image_tells_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a plan is made of comes back as it was, though no file of it is on the node."""
    monkeypatch.setattr(Spark, "launcher_options", golden.OPTIONS)
    for release, archives in (("4.0.1", True), ("3.5.9", False)):
        found = Software(golden.context().software.jupyter, golden.spark_software(release, archives=archives))
        monkeypatch.setattr(apps, "get", lambda name, found=found: App(found))
        said = container_software.tell("jupyter-spark", Settings(), {})
        answer = container_software.ask(_says(tmp_path, said), "jupyter-spark", Settings(), {})
        assert found.spark and answer.spark
        assert answer.jupyter == found.jupyter
        assert answer.spark.spark.launcher_options == golden.OPTIONS
        assert answer.spark.spark.python_path == found.spark.spark.python_path
        same = replace(answer.spark, spark=found.spark.spark, archive_directory=found.spark.archive_directory)
        assert same == found.spark
        assert answer.spark.archive_directory is None  # nothing is built in an image that is used


def test_an_image_without_us_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"in .*no such thing"):
        container_software.ask(_says(tmp_path, "", "no such thing"), "jupyter", Settings(), {})
    old = json.dumps({"version": "0.0.1", "software": {}})
    with pytest.raises(MissingError, match=f"has ood-runtime 0.0.1, and this one is {__version__}"):
        container_software.ask(_says(tmp_path, old), "jupyter", Settings(), {})


def test_workers_elsewhere_enter_the_same_image() -> None:
    context = replace(several_nodes.context(), container=BOX)
    files = {file.name: str(file.content) for file in workers(context).files}
    script = files["spark/remote-worker.sh"]
    assert "set -- /usr/bin/apptainer exec --nv --bind /apps --bind /data:/mnt:ro --bind /session:/session" in script
    assert '--bind "$scratch,$local_directories" /images/js.sif "$@"' in script
    # What a node must have are these two: Java and Spark are in the image.
    assert re.search(r"^need \S+ /usr/bin/apptainer /images/js\.sif$", script, re.MULTILINE)
    assert "SINGULARITYENV_" in script and "SINGULARITYENV_" not in _without_container(files)


def test_workers_of_a_session_wholly_inside_bind_what_their_node_has() -> None:
    context = several_nodes.context()
    inside = {**context.environment, "APPTAINER_CONTAINER": "/images/js.sif"}
    for own, expected in (({"environment": inside}, True), ({"container": BOX}, False)):
        files = {file.name: str(file.content) for file in workers(replace(context, **own)).files}
        script = files["spark/remote-worker.sh"]
        assert '/images/js.sif "$@"' in script
        assert (
            "\n        bind_what_is_here\n" in script
        ) is expected  # what a user has bound by the settings has to be there


def workers(context: Context) -> Part:
    return spark_workers.workers(context, compute(context.allocation.nodes, context.settings.spark))


def _without_container(files: Mapping[str, str]) -> str:
    plain = {file.name: str(file.content) for file in workers(several_nodes.context()).files}
    assert plain.keys() == files.keys()
    return plain["spark/remote-worker.sh"]


class App:
    def __init__(self, found: Software) -> None:
        self.found = found

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        return self.found


def _says(place: Path, text: str, error: str = "") -> Container:
    """What runs nothing, but prints an answer."""
    program = place / "program"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdin.read()\nprint({text!r})\nsys.stderr.write({error!r})"
    )
    program.chmod(0o755)
    return Container(program, Path("/images/js.sif"))

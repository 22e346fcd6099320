"""The definitions of images and their scripts, as far as they can be read without building one."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.needs import need

REPOSITORY = Path(__file__).parents[2]
SINGULARITY = REPOSITORY / "singularity"
DEFINITIONS = sorted(SINGULARITY.glob("*.def"))
SCRIPTS = sorted([*SINGULARITY.glob("*.sh"), *(REPOSITORY / "tests" / "containers").glob("*.sh")])


def sections(definition: Path) -> dict[str, list[str]]:
    """What stands below each %word of a definition, without comments; the header is that of ""."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in definition.read_text().splitlines():
        if match := re.match(r"%(\w+)", line):
            name = match[1]
            found[name] = []
        elif line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda path: path.stem)
def test_a_definition_is_whole(definition: Path) -> None:
    parts = sections(definition)
    assert {"arguments", "files", "post", "environment", "runscript", "test", "labels", "help"} <= parts.keys()
    assert parts["runscript"] == ['exec ood-runtime start "$@"']
    defaults = dict(line.split("=", 1) for line in parts["arguments"])
    used = set(re.findall(r"\{\{ (\w+) \}\}", definition.read_text()))
    assert used == defaults.keys()
    for line in parts["files"]:
        source = re.sub(r"\{\{ (\w+) \}\}", lambda match: defaults[match[1]], line.rsplit(" ", 1)[0])
        assert (REPOSITORY / source).exists(), source
    for name in re.findall(r"/build/(\w+\.sh)", " ".join(parts["post"])):
        assert f"/build/{name}" in " ".join(parts["files"])


def test_images_differ_in_nothing_but_their_app() -> None:
    first, second = map(sections, DEFINITIONS)
    assert first[""] == second[""] and first["environment"] == second["environment"]
    for name in ("arguments", "files", "post", "test"):
        plain = {line.replace("jupyter-spark", "APP") for line in first[name]}
        assert plain <= {line.replace("rstudio-spark", "APP") for line in second[name]}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_likes_the_scripts(script: Path) -> None:
    subprocess.run([need("shellcheck"), "--exclude=SC1091", script], check=True)


def test_every_package_is_pinned_to_a_version_that_is_allowed() -> None:
    pins = dict(line.split("==") for line in (SINGULARITY / "constraints.txt").read_text().split())
    known = {re.sub(r"[-_.]+", "-", name).lower(): Version(version) for name, version in pins.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in map(Requirement, [*project["dependencies"], *extras["jupyter"], *extras["spark"]]):
        assert known[requirement.name] in requirement.specifier

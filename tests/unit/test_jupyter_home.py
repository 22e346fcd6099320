"""Which Jupyter is found: its Python from every kind of first line, its versions from its metadata."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ood_runtime import jupyter_home
from ood_runtime.apps import jupyter
from ood_runtime.errors import MissingError
from ood_runtime.jupyter_home import Jupyter, find
from ood_runtime.settings import Settings

RELEASE = f"python3.{sys.version_info.minor}"
Install = Callable[..., Path]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment with blanks in its path, and a Python that must not be needed."""
    prefix = tmp_path / "an environment"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "lib" / RELEASE / "site-packages").mkdir(parents=True)
    program(prefix / "bin" / RELEASE, "#!/bin/sh\necho 'python was started' >&2\nexit 1\n")
    (prefix / "bin" / "python").symlink_to(RELEASE)
    return prefix


@pytest.fixture
def install(prefix: Path) -> Install:
    def install(name: str = "jupyter-lab", first_lines: str | None = None, **versions: str) -> Path:
        for package, version in ({"jupyterlab": "4.2.5", "jupyter_server": "2.14.2"} | versions).items():
            info = prefix / "lib" / RELEASE / "site-packages" / f"{package}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: {version}\n"
            )
        lines = f"#!/bin/sh\n'''exec' \"{prefix}/bin/python\" \"$0\" \"$@\"\n' '''\n"
        return program(prefix / "bin" / name, (first_lines or lines) + "import sys\n")

    return install


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_a_path_with_blanks_and_pips_shell_lines(install: Install, prefix: Path) -> None:
    command = install(ipykernel="6.29.5")
    assert find(str(command), "lab", {}) == Jupyter(prefix / "bin/python", command, "lab", "4.2.5", True)


def test_no_ipykernel(install: Install) -> None:
    assert not find(str(install()), "lab", {}).has_ipykernel


@pytest.mark.parametrize(
    "first_lines",
    [
        "#!/usr/bin/env python\n",
        "#!/usr/bin/env -S python -I\n",
        "#!{prefix}/bin/python\n",
        "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_every_kind_of_first_line(install: Install, prefix: Path, first_lines: str) -> None:
    command = install(first_lines=first_lines.format(prefix=prefix))
    assert find(str(command), "lab", {"PATH": str(prefix / "bin")}).python == prefix / "bin/python"


def test_a_name_on_path(install: Install, prefix: Path) -> None:
    command = install()
    assert find("jupyter-lab", "lab", {"PATH": f"/nowhere:{prefix}/bin"}).command == command


def test_the_jupyter_command_means_the_one_that_it_starts(install: Install, prefix: Path) -> None:
    command = install("jupyter-notebook", notebook="7.2.2")
    program(prefix / "bin" / "jupyter", "#!/bin/sh\n")
    found = find(str(prefix / "bin" / "jupyter"), "notebook", {})
    assert (found.command, found.version) == (command, "7.2.2")


def test_the_jupyter_command_without_the_one_that_it_starts(prefix: Path) -> None:
    jupyter = program(prefix / "bin" / "jupyter", "#!/bin/sh\n")
    with pytest.raises(MissingError, match="no jupyter-lab beside it"):
        find(str(jupyter), "lab", {})


def test_a_link_to_the_command(install: Install, tmp_path: Path) -> None:
    link = tmp_path / "jupyter-lab"
    link.symlink_to(install())
    assert find(str(link), "lab", {}).version == "4.2.5"


@pytest.mark.parametrize("text", ["#!/bin/bash\nmodule load jupyter\n", "\x7fELF", ""])
def test_a_wrapper_is_taken_as_it_is(tmp_path: Path, text: str) -> None:
    wrapper = program(tmp_path / "my-jupyter", text)
    assert find(str(wrapper), "lab", {}) == Jupyter(None, wrapper, "lab", "", True)


def test_beside_our_own_python_before_path(install: Install, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = install()
    monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
    assert find(None, "lab", {"PATH": "/nowhere"}).command == command


def test_nothing_found_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/our/bin/python")
    with pytest.raises(MissingError, match=r"/our/bin/jupyter-lab and PATH \(/nowhere\)") as caught:
        find(None, "lab", {"PATH": "/nowhere"})
    assert "jupyter.command" in caught.value.remedy


@pytest.mark.parametrize(
    ("interface", "versions", "what"),
    [
        ("lab", {"jupyterlab": "3.6.7"}, "jupyterlab 3.6.7; 4 or newer"),
        ("lab", {"jupyter_server": "1.24.0"}, "jupyter_server 1.24.0; 2 or newer"),
        ("notebook", {"notebook": "6.5.7"}, "notebook 6.5.7; 7 or newer"),
        ("notebook", {}, "has no notebook"),
    ],
)
def test_too_old(install: Install, interface: jupyter_home.Interface, versions: dict[str, str], what: str) -> None:
    with pytest.raises(MissingError, match=what):
        find(str(install(**versions)), interface, {})


def test_a_python_that_is_gone(install: Install) -> None:
    with pytest.raises(MissingError, match="is to be run by /gone/bin/python"):
        find(str(install(first_lines="#!/gone/bin/python3\n")), "lab", {})


def test_packages_in_an_unusual_place_are_asked_for(tmp_path: Path) -> None:
    answer = '#!/bin/sh\ncase "$2" in *jupyterlab*) echo "[\'4.9.0\']";; *) echo "[\'2.9.0\']";; esac\n'
    python = program(tmp_path / "python", answer)
    command = program(tmp_path / "jupyter-lab", f"#!{python}\n")
    assert find(str(command), "lab", {}).version == "4.9.0"


# --- the Python of the kernel Python 3 ---


def test_another_python_for_the_kernel(install: Install, prefix: Path, tmp_path: Path) -> None:
    command = install(ipykernel="6.29.5")
    other = tmp_path / "other" / "bin" / "python"
    other.parent.mkdir(parents=True)
    settings = {"jupyter": {"command": str(command), "python": str(other)}}
    with pytest.raises(MissingError, match=f"jupyter.python: there is no Python {other}"):
        find_for_app(settings)
    program(other, "#!/bin/sh\nexit 1\n")
    with pytest.raises(MissingError, match="has no ipykernel") as caught:
        find_for_app(settings)
    assert caught.value.remedy == f"{other} -m pip install ipykernel"
    program(other, "#!/bin/sh\necho \"['6.29.5']\"\n")
    assert find_for_app(settings).kernel_python == other
    own = {"jupyter": {"command": str(command), "python": str(prefix / "bin" / RELEASE)}}
    assert find_for_app(own).kernel_python is None, "it is Jupyter's own"


def find_for_app(settings: Mapping[str, object]) -> Jupyter:
    return jupyter.find(Settings.model_validate(settings), {})

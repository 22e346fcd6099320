"""Programs that give another one a /tmp of its own: which works here, and that it does what it is for."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ood_runtime import isolation
from ood_runtime.errors import MissingError
from ood_runtime.isolation import Isolation
from tests.support.needs import missing, need

PROGRAMS = {"bubblewrap": "bwrap", "unshare": "unshare"}
# Who has no name in the namespace, no right there, or an own /tmp that is the node's, is told apart.
LOOK = 'id -u; stat -c %d:%i /tmp; cat "$1"/kept; touch "$1"/made /tmp/own; grep CapEff /proc/self/status; ls -A /tmp'


@pytest.fixture
def below_tmp() -> Iterator[Path]:
    """A directory right below /tmp, as scratch space often is."""
    with tempfile.TemporaryDirectory(prefix="it's a test ", dir="/tmp") as name:
        yield Path(name)


def found(name: str) -> Isolation:
    need(PROGRAMS[name])
    try:
        return isolation.find(name, os.environ)
    except MissingError as error:
        missing(error.what)


def run(how: Isolation, own: Path, kept: list[Path], script: Path, *argv: str) -> str:
    text = isolation.script_text(how, own, kept)
    if text is not None:
        script.write_text(text)
        script.chmod(0o700)
    command = [*isolation.prefix(how, own, kept, script), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_a_tmp_of_its_own_and_what_it_needs_of_the_nodes(name: str, below_tmp: Path) -> None:
    own, kept, single = below_tmp / "own tmp", below_tmp / "a/kept one", below_tmp / "single file"
    kept.mkdir(parents=True)
    own.mkdir()
    (kept / "kept").write_text("here\n")
    single.write_text("")
    look = ("/bin/sh", "-c", LOOK, "sh", str(kept))
    paths = [kept, single, below_tmp / "not there"]
    uid, tmp, here, rights, *names = run(found(name), own, paths, below_tmp / "script", *look).splitlines()
    info = own.stat()
    assert (uid, tmp, here) == (str(os.getuid()), f"{info.st_dev}:{info.st_ino}", "here")
    assert os.getuid() == 0 or int(rights.split()[1], 16) == 0
    assert set(names) == {"own", below_tmp.name}
    assert (own / "own").exists()
    assert (kept / "made").exists()
    assert not Path("/tmp/own").exists()


@pytest.mark.parametrize("name", PROGRAMS)
def test_scratch_space_that_holds_the_own_tmp_is_seen(name: str, below_tmp: Path) -> None:
    own = below_tmp / "own"
    own.mkdir()
    said = run(found(name), own, [below_tmp], below_tmp / "script", "/bin/sh", "-c", 'ls "$1"', "sh", str(below_tmp))
    assert "own" in said.splitlines()


def test_what_lies_below_tmp(tmp_path: Path) -> None:
    paths = [Path("/home/a"), Path("/tmp/a/b"), Path("/tmp/a"), Path("/tmp"), Path("/tmp/c"), Path("/tmpfs/x")]
    assert isolation.below_tmp(paths) == (Path("/tmp/a"), Path("/tmp/c"))
    link = Path("/var") / "nothing"
    assert isolation.below_tmp([link]) == ()


def test_a_link_into_tmp_is_followed(below_tmp: Path) -> None:
    target, link = below_tmp / "target", below_tmp / "link"
    target.mkdir()
    link.symlink_to(target)
    assert set(isolation.below_tmp([link])) == {target, link}


# --- what does not work ---


def program(directory: Path, name: str, script: str) -> dict[str, str]:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("echo ' _____ ____'; echo '|  __ / 5.1.0  PRoot'", "PRoot 5.1.0, under which rserver does not find"),
        ("echo 'proot v4.0.3'", "PRoot v4.0.3"),
        ("echo nothing", "does not tell its version"),
        ("echo 5.3.1; [ $1 = --version ] || { echo 'ptrace: not allowed' >&2; exit 1; }", "ptrace: not allowed"),
        ("exit 127", "does not tell its version"),
    ],
)
def test_proot_that_is_old_or_broken(tmp_path: Path, says: str, reason: str) -> None:
    with pytest.raises(MissingError, match=reason) as raised:
        isolation.find("proot", program(tmp_path, "proot", says))
    assert "PRoot 5.3 or newer" in raised.value.remedy


def test_proot_that_is_new(tmp_path: Path) -> None:
    assert isolation.find("proot", program(tmp_path, "proot", "echo v5.4.0")).program == tmp_path / "proot"


def test_the_first_that_works(tmp_path: Path) -> None:
    environment = program(tmp_path, "bwrap", "echo 'bwrap: no permissions' >&2; exit 1")
    program(tmp_path, "unshare", "exit 1")
    program(tmp_path, "proot", "echo 5.3.0")
    assert isolation.first(environment).name == "proot"
    program(tmp_path, "unshare", "exit 0")
    assert isolation.first(environment).name == "unshare"


def test_none_works(tmp_path: Path) -> None:
    environment = program(tmp_path, "bwrap", "echo 'bwrap: no permissions' >&2; exit 1")
    program(tmp_path, "unshare", "exit 1")
    program(tmp_path, "proot", "echo 5.1.0")
    with pytest.raises(MissingError) as raised:
        isolation.first(environment)
    for word in ("bubblewrap: bwrap says: bwrap: no permissions", "unshare: unshare says: 1", "PRoot 5.1.0"):
        assert word in raised.value.what
    assert "install bubblewrap" in raised.value.remedy


def test_an_image_needs_apptainer_and_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="apptainer or singularity is not on PATH"):
        isolation.find("apptainer", {"PATH": "/usr/bin"}, Path("/bin/true"))
    environment = program(tmp_path, "singularity", "exit 0")
    with pytest.raises(MissingError, match=r"rstudio\.image is not set"):
        isolation.find("apptainer", environment)
    with pytest.raises(MissingError, match=r"/nonexistent \(rstudio\.image\) is not there"):
        isolation.find("apptainer", environment, Path("/nonexistent"))
    assert isolation.find("apptainer", environment, Path("/bin/true")).program == tmp_path / "singularity"

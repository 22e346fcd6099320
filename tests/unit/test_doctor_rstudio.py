"""What `ood-runtime doctor rstudio` says of a node that lacks something: what it is, and how to get it."""

import json
from pathlib import Path

import pytest

from ood_runtime import rstudio_home
from tests.golden import rstudio_contexts as known
from tests.unit.calls import RunCli
from tests.unit.test_rstudio_home import r_at, rserver_at, script

Findings = dict[str, list[dict[str, str]]]
TOOLS = ("bwrap", "unshare", "proot")

pytestmark = pytest.mark.skipif(
    any(path.exists() for path in rstudio_home.PLACES), reason="RStudio Server is installed here"
)


def look(run_cli: RunCli, directory: Path, *settings: str) -> tuple[int, Findings]:
    """Exit status and findings where programs are only in the ``directory``, and what a system surely has."""
    system = directory / "system"
    system.mkdir(exist_ok=True)
    for name in ("sh", "true", "test"):
        if not (system / name).exists():
            (system / name).symlink_to(f"/bin/{name}")
    words = [word for setting in settings for word in ("--set", setting)]
    done = run_cli("doctor", "rstudio", "--json", *words, env={"PATH": f"{directory}/bin:{system}"})
    found: Findings = {}
    for finding in json.loads(done.stdout):
        found.setdefault(finding["what"], []).append(finding)
    for entries in found.values():
        for entry in entries:
            assert entry["remedy"] or entry["state"] == "good", entry
    return done.returncode, found


def one(found: Findings, what: str) -> tuple[str, str]:
    (entry,) = found[what]
    return entry["state"], entry["detail"]


def with_tools(directory: Path, text: str = "exit 0") -> None:
    for name in TOOLS:
        script(directory / "bin" / name, text)


def test_all_is_there(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path)
    rserver_at(tmp_path)
    with_tools(tmp_path, "echo 5.4.0")
    status, found = look(run_cli, tmp_path)
    assert status == 0
    assert "Jupyter" not in found and "Spark" not in found
    assert one(found, "R") == ("good", f"4.4.1 at {tmp_path}/bin/R, with libR.so in {tmp_path}/lib/R")
    state, detail = one(found, "RStudio Server")
    assert (state, detail.partition(" at ")[0]) == ("good", "1.4 or newer, older than 2022.07")
    assert one(found, "own /tmp") == ("good", "not needed")


def test_without_rserver(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path)
    with_tools(tmp_path, "echo 5.1.0")
    status, found = look(run_cli, tmp_path)
    assert status == 3
    state, detail = one(found, "RStudio Server")
    assert state == "bad" and detail.startswith("no RStudio Server")
    assert "rstudio.command" in found["RStudio Server"][0]["remedy"]
    assert [entry["state"] for entry in found["own /tmp"]] == ["good", "good", "warning"]


def test_an_r_without_its_library(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path, library="lib/libRblas.so")
    rserver_at(tmp_path)
    with_tools(tmp_path, "echo 5.4.0")
    status, found = look(run_cli, tmp_path)
    assert status == 3
    assert "has no libR.so" in one(found, "R")[1]
    assert "--enable-R-shlib" in found["R"][0]["remedy"]


def test_an_old_release_and_a_broken_proot(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path)
    rserver_at(tmp_path, known.OPTIONS_1_2)
    with_tools(tmp_path, "echo 'proot error: ptrace(TRACEME): not permitted' >&2; exit 1")
    status, found = look(run_cli, tmp_path)
    assert status == 3
    bad = next(entry for entry in found["own /tmp"] if entry["state"] == "bad")
    for word in ("keeps sockets in /tmp/rstudio-rsession", "bwrap says", "unshare says", "proot does not tell"):
        assert word in bad["detail"]
    assert "install bubblewrap" in bad["remedy"]


def test_a_broken_proot_is_told_where_nothing_is_needed(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path)
    rserver_at(tmp_path)
    script(tmp_path / "bin/proot", "echo 5.1.0")
    status, found = look(run_cli, tmp_path)
    assert status == 0
    assert [entry["state"] for entry in found["own /tmp"]] == ["good", "warning"] + ["warning"] * (
        len(found["own /tmp"]) - 2
    )
    assert any("PRoot 5.1.0" in entry["detail"] for entry in found["own /tmp"])
    _, found = look(run_cli, tmp_path, "rstudio.isolation=proot")
    assert "PRoot 5.3 or newer" in next(e for e in found["own /tmp"] if e["state"] == "bad")["remedy"]


def test_a_release_that_is_left_to_luck(run_cli: RunCli, tmp_path: Path) -> None:
    r_at(tmp_path)
    rserver_at(tmp_path, known.OPTIONS_2022_07)
    with_tools(tmp_path, "echo 5.4.0")
    status, found = look(run_cli, tmp_path, "rstudio.isolation=none")
    assert (status, one(found, "own /tmp")[0]) == (0, "warning")
    assert "a key in /tmp/rstudio-server" in one(found, "own /tmp")[1]

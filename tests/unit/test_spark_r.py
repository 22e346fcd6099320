"""The profile that tells R where the session's Spark is, read by R itself."""

import subprocess
from pathlib import Path

import pytest

from ood_runtime.render import render
from tests.support.needs import need

ASK = """
own <- file.path(Sys.getenv("SPARK_HOME"), "R/lib")
cat(Sys.getenv("SPARK_HOME"), getOption("of.the.site", "none"), own %in% .libPaths(), sep = "\\n")
"""


def read(
    place: Path, site: str, *options: str, shared: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """What R says that was started with the profile, on a site with a profile of its own."""
    (place / 'it\'s the "site"').write_text(site)
    home = place / "spark 'home'"
    (home / "R" / "lib").mkdir(parents=True)
    profile = place / "Rprofile.R"
    values = {"SPARK_HOME": str(home), "SPARKR_SUBMIT_ARGS": "--properties-file 'a b' sparkr-shell"}
    site_profile = f'{place}/it\'s the "site"'
    text = render(
        "spark_rprofile.R.j2", environment=values, site_profile=site_profile, master="spark://x", shared=shared
    )
    profile.write_text(text)
    return subprocess.run(
        [need("R"), "--no-echo", "--no-save", *options, "-e", ASK],
        env={"PATH": "/usr/bin:/bin", "R_PROFILE": str(profile), "HOME": str(place)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_r_has_what_drivers_need_beside_what_the_site_says(tmp_path: Path) -> None:
    done = read(tmp_path, "options(of.the.site = 'yes')")
    home = tmp_path / "spark 'home'"
    assert done.stdout.splitlines() == [str(home), "yes", "TRUE"]
    assert done.stderr == ""  # what R prints is a program's output there


@pytest.mark.parametrize("site", ["stop('broken')", "this is no R"])
def test_a_broken_profile_of_the_site_is_told(tmp_path: Path, site: str) -> None:
    done = read(tmp_path, site)
    assert done.stdout.splitlines()[:2] == [str(tmp_path / "spark 'home'"), "none"]
    assert "error in " in done.stderr


def test_the_console_says_how_to_connect(tmp_path: Path) -> None:
    done = read(tmp_path, "", "--interactive")
    assert "Spark of this session, at spark://x" in done.stderr
    assert "install.packages" in done.stderr or "spark_connect()" in done.stderr or "sparkR.session()" in done.stderr


def test_the_console_says_how_to_share_a_driver_where_r_can(tmp_path: Path) -> None:
    shared = {"url": "sc://localhost:20006", "token": '/it\'s "a" token', "version": "4.3"}
    assert "sc://" not in read(tmp_path, "", "--interactive", shared=shared).stderr, "without pysparklyr it cannot"
    # R looks for the package's own directory only.
    site = f'.libPaths("{tmp_path}/library"); '
    package = tmp_path / "library" / "pysparklyr"
    package.mkdir(parents=True)
    (package / "DESCRIPTION").write_text("Package: pysparklyr\nVersion: 0.2.1\n")
    (tmp_path / "spark 'home'/R/lib").rmdir()
    (tmp_path / "spark 'home'/R").rmdir()
    said = read(tmp_path, site, "--interactive", shared=shared).stderr
    assert 'readLines("/it\'s \\"a\\" token", warn = FALSE)' in said
    assert 'method = "spark_connect", master = "sc://localhost:20006", version = "4.3"' in said

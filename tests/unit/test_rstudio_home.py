"""Which R, which RStudio Server: what is found, and what is said of what is missing, all at once."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ood_runtime import r_home, rserver_options, rstudio_home
from ood_runtime.errors import MissingError, OodRuntimeError
from ood_runtime.settings.rstudio import RStudio as Settings
from tests.golden import rstudio_contexts as known
from tests.standins import rserver_options as standin
from tests.support.needs import need

NOWHERE = {"PATH": "/nonexistent"}


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def r_at(directory: Path, library: str = "lib/libR.so") -> Path:
    home = directory / "lib/R"
    (home / "library/base").mkdir(parents=True)
    (home / "library/base/DESCRIPTION").write_text("Package: base\nVersion: 4.4.1\n")
    (home / library).parent.mkdir(parents=True, exist_ok=True)
    (home / library).touch()
    return script(directory / "bin/R", f"echo '{home}'")


def rserver_at(directory: Path, options: set[str] | None = None, tail: str = "") -> Path:
    listed = sorted(options or known.OPTIONS_1_4)
    text = "\n".join(f"echo '  --{option} arg (=0)    what it is'" for option in listed)
    script(directory / "bin/rsession", "exit 1")
    return script(directory / "bin/rserver", f"[ \"$1\" = --help ] || exit 1\necho 'server options:'\n{text}\n{tail}")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(r_home, "_PLACES", ())
    monkeypatch.setattr(rstudio_home, "PLACES", ())


def find(environment: Mapping[str, str] = NOWHERE, **settings: object) -> rstudio_home.RStudio:
    return rstudio_home.find(Settings.model_validate(settings), {"PATH": "/usr/bin:/bin", **environment})


def failure(environment: Mapping[str, str] = NOWHERE, **settings: object) -> OodRuntimeError:
    with pytest.raises(OodRuntimeError) as raised:
        find(environment, **settings)
    return raised.value


def test_both_on_path(tmp_path: Path) -> None:
    r_at(tmp_path)
    rserver_at(tmp_path)
    found = find({"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})
    assert found.r == r_home.R(tmp_path / "bin/R", tmp_path / "lib/R", "4.4.1")
    assert (found.rserver.path, found.rserver.rsession) == (tmp_path / "bin/rserver", tmp_path / "bin/rsession")
    assert found.rserver.options == known.OPTIONS_1_4
    assert found.isolation is None


def test_a_link_on_path_leads_to_its_rsession(tmp_path: Path) -> None:
    r, server = r_at(tmp_path / "r"), rserver_at(tmp_path / "rstudio-server")
    (tmp_path / "rstudio-server/VERSION").write_text("2024.12.0+467\n")
    link = tmp_path / "rserver"
    link.symlink_to(server)
    found = find({"PATH": f"{tmp_path}:/usr/bin:/bin"}, r=str(r)).rserver
    assert (found.path, found.rsession, found.version) == (link, server.with_name("rsession"), "2024.12.0+467")


def test_where_packages_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    r, server = r_at(tmp_path / "r"), rserver_at(tmp_path / "usr")
    monkeypatch.setattr(r_home, "_PLACES", (r,))
    monkeypatch.setattr(rstudio_home, "PLACES", (server.parent,))
    found = find()
    assert found.r and found.r.command == r
    assert found.rserver.path == server


def test_everything_that_is_missing_is_told_at_once() -> None:
    error = failure()
    for word in ("no R: R is not there", "rstudio.r", "no RStudio Server: rserver is not there", "rstudio.command"):
        assert word in str(error)
    assert error.exit_status == 3


def test_an_r_that_rstudio_cannot_load(tmp_path: Path) -> None:
    error = failure(r=str(r_at(tmp_path, library="lib/libRblas.so")), command=str(rserver_at(tmp_path)))
    assert f"{tmp_path}/bin/R has no libR.so ({tmp_path}/lib/R/lib)" in error.what
    assert "--enable-R-shlib" in error.remedy


@pytest.mark.parametrize("library", ["lib/libR.so", "lib64/libR.so"])
def test_an_r_that_it_can_load(tmp_path: Path, library: str) -> None:
    assert r_home.find(str(r_at(tmp_path, library)), NOWHERE).version == "4.4.1"


@pytest.mark.parametrize("text", ["echo /nonexistent", "exit 3", "echo libicu.so.72: cannot open >&2; exit 127"])
def test_an_r_that_does_not_work(tmp_path: Path, text: str) -> None:
    with pytest.raises(MissingError, match="is no R that works"):
        r_home.find(str(script(tmp_path / "R", text)), NOWHERE)


def test_the_r_of_the_system_is_itself_whatever_home_another_one_has_set() -> None:
    path = need("R")
    found = r_home.find(path, {**os.environ, "R_HOME": "/nonexistent"})
    assert (found.home / "library/base").is_dir()
    assert found.version.startswith("4.")


def test_an_rserver_that_does_not_work(tmp_path: Path) -> None:
    server = script(tmp_path / "rserver", "echo 'libssl.so.1.1: cannot open shared object' >&2; exit 127")
    error = failure(command=str(server), r=str(r_at(tmp_path)))
    assert "libssl.so.1.1" in error.what
    assert "`rserver --help` gave 127" in error.what


def test_an_rserver_without_its_rsession(tmp_path: Path) -> None:
    server, r = rserver_at(tmp_path), str(r_at(tmp_path))
    server.with_name("rsession").unlink()
    assert "rstudio.rsession" in failure(command=str(server), r=r).remedy
    other = script(tmp_path / "other", "exit 0")
    assert find(command=str(server), r=r, rsession=str(other)).rserver.rsession == other


def test_an_rserver_that_cannot_be_closed_to_others(tmp_path: Path) -> None:
    server = rserver_at(tmp_path, known.OPTIONS_1_4 - {"auth-pam-helper-path", "auth-none"})
    assert "knows no --auth-none, --auth-pam-helper-path" in failure(command=str(server), r=str(r_at(tmp_path))).what


def test_an_option_that_this_release_has_not(tmp_path: Path) -> None:
    server, r = rserver_at(tmp_path), str(r_at(tmp_path))
    error = failure(command=str(server), r=r, options={"www-verify-user-agent": "0", "www-thread-pool-size": "4"})
    assert error.what == f"rstudio.options: www-verify-user-agent: {server} has no such option"
    assert error.exit_status == 2


# --- releases, and a /tmp of their own ---


@pytest.mark.parametrize(
    ("options", "release", "keeps"),
    [
        (known.OPTIONS_1_2, "1.2 or newer, older than 1.3", "sockets in /tmp/rstudio-rsession"),
        (known.OPTIONS_1_3, "1.3 or newer, older than 1.4", ""),
        (known.OPTIONS_1_4, "1.4 or newer, older than 2022.07", ""),
        (known.OPTIONS_2022_07, "2022.07 or newer, older than 2022.12", "a key in /tmp/rstudio-server"),
        (known.OPTIONS_2024_12, "2024.12 or newer, older than 2026.07", ""),
        ({"www-port"}, "older than 1.0", "sockets in /tmp/rstudio-rsession"),
    ],
)
def test_what_the_options_say_of_a_release(options: set[str], release: str, keeps: str) -> None:
    assert rserver_options.release(options) == release
    assert rserver_options.why_own_tmp(options).startswith(keeps)
    assert bool(rserver_options.why_own_tmp(options)) == bool(keeps)


@pytest.mark.parametrize("release", [(1, 1), (1, 2, 5042), (1, 4, 1103), (2022, 7, 2), (2026, 8, 0)])
def test_every_option_of_a_release_is_found_in_its_help(release: tuple[int, ...]) -> None:
    """In the layout of boost::program_options, which breaks long lines."""
    found = rserver_options.listed(standin.help_text(release))
    assert found - set(standin.known(release)) <= {"help", "config-file", "test-config", "check-config"}
    assert set(standin.known(release)) <= found


def test_only_known_options_are_given() -> None:
    given = rserver_options.arguments({"www-port": 1, "www-socket": "x", "rsession-which-r": None}, known.OPTIONS_1_4)
    assert given == ("--www-port=1",)


def test_an_old_release_is_isolated_and_none_leaves_it_to_luck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, r = str(rserver_at(tmp_path, known.OPTIONS_1_2)), str(r_at(tmp_path))
    script(tmp_path / "own/bwrap", "exit 0")
    found = find({"PATH": f"{tmp_path}/own:/usr/bin:/bin"}, command=server, r=r)
    assert found.isolation and found.isolation.name == "bubblewrap"
    monkeypatch.setattr(rserver_options, "FIXED_PLACES", (tmp_path / "not there", tmp_path))
    assert find(command=server, r=r, isolation="none").isolation is None
    monkeypatch.setattr(rserver_options, "FIXED_PLACES", (Path("/usr" if os.getuid() else "/proc/1/root/nothing"),))
    if os.getuid():
        assert "/usr is not yours" in failure(command=server, r=r, isolation="none").what


def test_an_old_release_where_nothing_can_isolate_it(tmp_path: Path) -> None:
    server, r = str(rserver_at(tmp_path, known.OPTIONS_1_2)), str(r_at(tmp_path))
    for name in ("bwrap", "unshare", "proot"):
        script(tmp_path / "broken" / name, "exit 1")
    error = failure({"PATH": f"{tmp_path}/broken:/usr/bin:/bin"}, command=server, r=r)
    assert "(1.2 or newer, older than 1.3) keeps sockets in /tmp/rstudio-rsession" in error.what
    assert "2022.12" in error.remedy


def test_an_image(tmp_path: Path) -> None:
    server = rserver_at(tmp_path / "image/usr")
    script(tmp_path / "apptainer", '[ "$1" = exec ] && shift 2 && exec "$@"')
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    found = find(environment, image="/bin/true", command=str(server))
    assert (found.r, found.rserver.path) == (None, server)
    assert found.isolation and (found.isolation.name, found.isolation.image) == ("apptainer", Path("/bin/true"))
    assert "has no RStudio Server" in failure(environment, image="/bin/true", command="/nonexistent").what


def test_who_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(MissingError, match="has no name here"):
        rstudio_home.user_name()


# --- options that are not for users ---


@pytest.mark.parametrize(
    "option",
    ["auth-none", "auth-pam-helper-path", "www-port", "server-user", "rsession-path", "www-root-path", "Bad_1"],
)
@pytest.mark.parametrize("where", ["options", "session_options"])
def test_what_secures_a_session_cannot_be_changed(option: str, where: str) -> None:
    with pytest.raises(ValueError, match=option):
        Settings.model_validate({where: {option: "1"}})


@pytest.mark.parametrize("values", [{"image": "/x.sif", "isolation": "unshare"}, {"isolation": "apptainer"}])
def test_an_image_is_run_by_apptainer_and_apptainer_runs_an_image(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"rstudio\.image"):
        Settings.model_validate(values)


def test_yes_and_no_are_words_for_rserver() -> None:
    values = Settings.model_validate({"options": {"www-verify-user-agent": False, "www-thread-pool-size": 4}})
    assert values.options == {"www-verify-user-agent": "false", "www-thread-pool-size": "4"}


def test_r_sessions_begin_where_there_can_be_a_directory() -> None:
    for place in ("/data", "~", "~/data"):
        Settings.model_validate({"session_options": {"session-default-working-dir": place}})
    with pytest.raises(ValueError, match="session-default-working-dir should be an absolute path"):
        Settings.model_validate({"session_options": {"session-default-working-dir": "data"}})


@pytest.mark.parametrize("value", ["a\nauth-none=1", "a # b"])
def test_a_value_is_one_value(value: str) -> None:
    with pytest.raises(ValueError, match="should be one line without #"):
        Settings.model_validate({"session_options": {"r-libs-user": value}})

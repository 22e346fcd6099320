"""What starts an R session: the job's environment is back, and what rserver has set stays."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ood_runtime import rsession
from tests.support.needs import need

# A real rserver 1.4 gives this much.
RSERVERS = {
    "PATH": "/usr/bin:/bin",
    "USER": "ada",
    "LOGNAME": "ada",
    "SHELL": "/bin/bash",
    "R_HOME": "/usr/lib/R",
    "R_DOC_DIR": "/usr/share/R/doc",
    "LD_LIBRARY_PATH": "/usr/lib/R/lib:/opt/a",
    "RS_SESSION_TMP_DIR": "/run/x",
    "RSTUDIO_LIMIT_RPC_CLIENT_UID": "1000",
}
# A program that is no shell, and so keeps variables that no shell knows.
TELL = """
import os, sys
told = [name + b"=" + value for name, value in os.environb.items()]
told += [b"", os.getcwdb(), b"%04o" % os.umask(0), *map(os.fsencode, sys.argv[1:]), b""]
with open(sys.argv[0] + ".got", "wb") as file:
    file.write(b"\\0".join(told))
"""
VALUES = st.binary(max_size=30).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))


class Stage:
    """A wrapper whose rsession prints what it got."""

    def __init__(self, tmp_path: Path, *shell: str) -> None:
        self.shell = shell
        self.home = tmp_path / "home"
        self.log = tmp_path / "a log's.log"
        self.tmp_path = tmp_path
        self.home.mkdir()
        program = tmp_path / "r session"
        program.write_text(f"#!{sys.executable} -IS\n{TELL}")
        program.chmod(0o700)
        self.program = program

    def run(
        self, job: Mapping[str, str], ours: Mapping[str, str] | None = None, *arguments: str, in_image: bool = False
    ) -> tuple[dict[str, str], list[str]]:
        """The environment of the session; its directory, its umask and its arguments."""
        environment, wrapper = self.tmp_path / "environment.sh", self.tmp_path / "rsession.sh"
        mark = {"OOD_RUNTIME_SESSION": "this-session"}
        environment.write_bytes(rsession.environment_file(job, {**mark, **(ours or {})}, in_image=in_image))
        wrapper.write_text(
            rsession.starter(
                job, rsession=str(self.program), environment=str(environment), log=str(self.log), umask=0o027
            )
        )
        wrapper.chmod(0o700)
        subprocess.run(
            [*self.shell, wrapper, *arguments],
            env={**RSERVERS, "HOME": str(self.home)},
            cwd="/",
            check=True,
            capture_output=True,
        )
        lines = Path(f"{self.program}.got").read_bytes().split(b"\0")
        end = lines.index(b"")
        pairs = (os.fsdecode(line).split("=", 1) for line in lines[:end])
        return dict(pair for pair in pairs), [os.fsdecode(line) for line in lines[end + 1 : -1]]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_the_environment_of_the_job_is_back(stage: Stage) -> None:
    job = {
        "SLURM_JOB_ID": "7",
        "R_LIBS_USER": "~/R libs/%v",
        "KRB5CCNAME": "FILE:/tmp/krb5cc_1",
        "LC_ALL": "C.UTF-8",
        "EMPTY": "",
        "_LMFILES_": "/m/a:/m/b",
        "BASH_FUNC_module%%": '() {  echo it\'s "a" module\n}',
    }
    got, _ = stage.run(job, {"TMPDIR": "/scratch/x"})
    assert got.items() >= {**job, "TMPDIR": "/scratch/x", "OOD_RUNTIME_SESSION": "this-session"}.items()


def test_bash_takes_the_functions(stage: Stage) -> None:
    got, _ = stage.run({"BASH_FUNC_module%%": '() {  echo it\\\'s "a $1"\n}'})
    said = subprocess.run(["/bin/bash", "-c", "module x"], env=got, capture_output=True, text=True, check=True).stdout
    assert said == "it's a x\n"


def test_what_rserver_has_set_stays(stage: Stage) -> None:
    foreign = dict.fromkeys(RSERVERS, "/job's") | {"HOME": "/job's", "RSTUDIO_PASSWORD": "p", "R_SHARE_DIR": "/x"}
    got, _ = stage.run(foreign)
    for name in set(RSERVERS) - {"LD_LIBRARY_PATH"}:
        assert got[name] == RSERVERS[name]
    assert got["HOME"] == str(stage.home)
    assert not {"RSTUDIO_PASSWORD", "R_SHARE_DIR"} & set(got)


@pytest.mark.parametrize(
    ("libraries", "joined"),
    [
        ("/opt/b:/opt/a", "/usr/lib/R/lib:/opt/a:/opt/b"),
        ("", "/usr/lib/R/lib:/opt/a"),
        (":/with blank::/*:", "/usr/lib/R/lib:/opt/a:/with blank:/*"),
    ],
)
def test_libraries_of_r_come_first_and_those_of_the_job_are_not_lost(stage: Stage, libraries: str, joined: str) -> None:
    got, _ = stage.run({"LD_LIBRARY_PATH": libraries})
    assert got["LD_LIBRARY_PATH"] == joined


def test_libraries_of_the_node_are_not_for_an_image(stage: Stage) -> None:
    got, _ = stage.run({"LD_LIBRARY_PATH": "/opt/b"}, in_image=True)
    assert got["LD_LIBRARY_PATH"] == RSERVERS["LD_LIBRARY_PATH"]


@pytest.mark.parametrize("shell", [("dash",), ("bash", "--posix")])
@settings(max_examples=10)
@given(st.dictionaries(st.sampled_from(["A", "b", "X_1", "SPARK_CONF_DIR"]), VALUES))
@example({"A": "'\"$(id)`id`\\\n\n", "b": "\udcff", "X_1": "!*?[~"})
def test_every_value_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, shell: tuple[str, ...], job: dict[str, str]
) -> None:
    need(shell[0])
    got, _ = Stage(tmp_path_factory.mktemp("stage"), *shell).run(job)
    assert {name: got[name] for name in job} == job


def test_arguments_directory_and_umask(stage: Stage) -> None:
    arguments = ["-u", "ada", "--session-root-path", "/", "", "a b*", "--launcher-token", "X"]
    _, got = stage.run({}, {}, *arguments)
    assert got == [str(stage.home), "0027", *arguments]


def test_a_home_directory_that_is_not_there(stage: Stage, tmp_path: Path) -> None:
    stage.home.rmdir()
    got, (directory, *_) = stage.run({"HOME": str(tmp_path)})
    assert (got["HOME"], directory) == (str(tmp_path), str(tmp_path))


def test_the_log_is_private_and_holds_no_environment(stage: Stage) -> None:
    stage.run({"TOKEN": "of the user"})
    assert stage.log.stat().st_mode & 0o777 == 0o600
    assert "of the user" not in stage.log.read_text()


@pytest.mark.parametrize("data", [".local/share/rstudio", ".rstudio"])
def test_a_suspended_session_of_an_earlier_job_does_not_bring_its_environment_back(stage: Stage, data: str) -> None:
    active = stage.home / data / "sessions/active"
    earlier, ours = (active / f"session-{name}/suspended-session-data" for name in ("a", "b"))
    for directory, identifier in ((earlier, "earlier-session"), (ours, "this-session")):
        directory.mkdir(parents=True)
        (directory / "environment_vars").write_text(f'OOD_RUNTIME_SESSION="{identifier}"\nSLURM_JOB_ID="6"\n')
        (directory / "options").write_text("")
    stage.run({})
    assert [path.name for path in earlier.iterdir()] == ["options"]
    assert (ours / "environment_vars").exists()

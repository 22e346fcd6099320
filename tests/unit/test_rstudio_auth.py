"""Who the helper lets in, as rserver asks it: through a real pipe, with what a form has sent, byte by byte."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ood_runtime.passwords import digest
from ood_runtime.render import render
from ood_runtime.secret import Secret

PASSWORD = "gPasswordPasswordPasswordPasswor"
WRONG = "gWrongWrongWrongWrongWrongWrongW"

# What a shell reads otherwise than it stands there.
HOSTILE = [
    " blanks  inside and around ",
    "\ttab\t",
    r"back\slash\\n\0",
    "* ? [a-z] ~ {a,b} $HOME `id` $(id)",
    "'\"'\"",
    "-n",
    "!event #comment ;|&<>",
    "ünïcödé \udcff",
    "%s%d%n",
    "two\nlines",
    "ends with a line end\n",
    "\n",
    "x" * 100_000,
]


class Helper:
    """The helper of a session of ``ada``, asked as rserver does; it says nothing that anybody would keep."""

    def __init__(self, directory: Path, password: str = PASSWORD) -> None:
        self.digests, self.path = directory / "it's ours", directory / "auth.sh"
        secrets = (Secret(password), Secret(WRONG))
        self.digests.write_text("".join(f"{digest(secret).reveal()}\n" for secret in secrets))
        self.path.write_text(render("rstudio_auth.sh.j2", user="ada", digests=str(self.digests)))
        self.path.chmod(0o700)

    def lets_in(self, given: bytes, *arguments: str, environment: dict[str, str] | None = None) -> bool:
        done = subprocess.run(
            [self.path, *arguments],
            input=given,
            capture_output=True,
            cwd="/",
            env=environment or {"PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert done.stdout + done.stderr == b""
        assert done.returncode in (0, 1)
        return done.returncode == 0

    def lets_in_any(self, *calls: tuple[bytes, list[str]]) -> list[tuple[bytes, list[str]]]:
        """Those of many calls at the same time, each of which waits for a second when it is refused."""
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = pool.map(lambda call: self.lets_in(call[0], *call[1]), calls)
            return [call for call, answer in zip(calls, answers, strict=True) if answer]


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    return Helper(tmp_path)


@pytest.mark.parametrize("password", [PASSWORD, *HOSTILE], ids=range(1 + len(HOSTILE)))
def test_the_owner_with_the_password(tmp_path: Path, password: str) -> None:
    assert Helper(tmp_path, password).lets_in(os.fsencode(password), "ada")


def test_a_hostile_password_stands_for_no_other(tmp_path: Path) -> None:
    calls = []
    for index, password in enumerate(HOSTILE):
        directory = tmp_path / str(index)
        directory.mkdir()
        helper, raw = Helper(directory, password), os.fsencode(password)
        calls += [(helper, given) for given in (raw + b"\n", b" " + raw, raw.strip() + b"x", raw.replace(b"\\", b""))]
    calls = [(helper, given) for helper, given in calls if digest_of(given) != helper.digests.read_text().split()[0]]
    with ThreadPoolExecutor(len(calls)) as pool:
        assert not any(pool.map(lambda call: call[0].lets_in(call[1], "ada"), calls))


def digest_of(raw: bytes) -> str:
    return digest(Secret(os.fsdecode(raw))).reveal()


@pytest.mark.parametrize(
    "arguments",
    [
        ["ada"],  # up to 1.2
        ["ada", "rstudio", "1"],  # from 1.3 on
        ["ada", "rstudio", "0"],
        ["ada", "rstudio", "1", "what", "may", "come"],
    ],
)
def test_every_release_is_understood(helper: Helper, arguments: list[str]) -> None:
    assert helper.lets_in(PASSWORD.encode(), *arguments)


def test_no_other_password(helper: Helper) -> None:
    right = PASSWORD.encode()
    wrong = [
        b"",
        b"*",
        right[:-1],
        right + b" ",
        b" " + right,
        right + b"\n",
        right + b"\nx",
        right + b"\0",
        b"\0" + right,
    ]
    wrong += [right.upper(), digest_of(right).encode(), helper.digests.read_bytes(), os.urandom(1000)]
    assert helper.lets_in_any(*((given, ["ada"]) for given in wrong)) == []


def test_nobody_else_with_the_right_password(helper: Helper) -> None:
    others = [[], [""], ["root"], ["Ada"], ["ada "], [" ada"], ["ad?"], ["*"], ["ada\n"], ["-n"], ["rstudio", "ada"]]
    assert helper.lets_in_any(*((PASSWORD.encode(), arguments) for arguments in others)) == []


def test_who_guesses_waits_and_the_session_itself_does_not(helper: Helper) -> None:
    began = time.monotonic()
    assert not helper.lets_in(WRONG.encode(), "ada", "rstudio", "1")
    tried = time.monotonic()
    assert not helper.lets_in(b"guess", "ada", "rstudio", "1")
    assert tried - began < 0.9
    assert time.monotonic() - tried >= 1.0


def test_a_session_that_has_ended_lets_nobody_in(helper: Helper) -> None:
    assert helper.lets_in(PASSWORD.encode(), "ada")
    helper.digests.unlink()
    assert not helper.lets_in(PASSWORD.encode(), "ada")
    helper.digests.write_text("\n\n")
    assert not helper.lets_in(b"", "ada")


def test_what_modules_have_set_does_not_reach_it(helper: Helper, tmp_path: Path) -> None:
    (tmp_path / "sha256sum").write_text("#!/bin/sh\necho foreign\n")
    (tmp_path / "sha256sum").chmod(0o700)
    job = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LD_LIBRARY_PATH": str(tmp_path), "BASH_ENV": "/nonexistent"}
    assert helper.lets_in(PASSWORD.encode(), "ada", environment=job)


def test_the_password_itself_is_in_no_file(helper: Helper) -> None:
    assert PASSWORD not in helper.path.read_text() + helper.digests.read_text()

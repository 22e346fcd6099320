"""What people read agrees with what there is: links, commands, settings, examples, the portal's files."""

import os
import re
import shlex
import signal
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ood_runtime.cli import COMMANDS
from ood_runtime.cli.group import group
from ood_runtime.settings import load
from ood_runtime.settings.layers import keys
from ood_runtime.settings.model import Settings
from tests.support.needs import need
from tools import reference

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("examples/*.md")])
REFERENCE = REPOSITORY / "docs" / "reference.md"
EXAMPLES = REPOSITORY / "examples"
JOBS = sorted(EXAMPLES.glob("jobs/*.sh"))
NO_SITE = {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(ood-runtime [^`]+)`")
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|\s)(?:exec |\$\()?(?:\S*/)?(ood-runtime (?:[a-z]+|-).*)$")
_PROTECTIVE_SECONDS = 30


def _name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def _without_code(text: str) -> str:
    return re.sub(r"^ {4}.*$", "", _FENCED.sub("", text), flags=re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = _HEADING.findall(_without_code(page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_without_code(page.read_text("utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{link}: there is no {target}"
        assert not anchor or anchor in _anchors(target), f"{link}: no such heading"


def _command_lines(text: str) -> Iterator[str]:
    yield from _INLINE.findall(text)
    blocks = _FENCED.findall(text) + re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    for line in "".join(blocks).splitlines():
        if line.lstrip().startswith(("ood-runtime [", "ood-runtime:", "#")):
            continue  # what the program prints; comments
        if match := _COMMAND.search(line):
            # What follows after two blanks explains the command.
            yield re.split(r" {2,}|[;|&>)]", match[1])[0]


def _parse(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    """Let click read a command line without running it."""
    try:
        context = command.make_context(command.name, arguments, parent=parent)
    except click.exceptions.Exit:
        return  # --help, --version
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]  # what is left is the subcommand's
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        _parse(found, rest, context)


@pytest.mark.parametrize("page", [*PAGES, *JOBS, EXAMPLES / "config.yml"], ids=_name)
def test_commands_can_be_read(page: Path) -> None:
    text = page.read_text("utf-8")
    for line in _command_lines(f"```\n{text}```\n" if page.suffix == ".sh" else text):
        words = [re.sub(r"^\[(\w+)\]$", r"\1", word) for word in shlex.split(line, comments=True)[1:]]
        if len(words) == 1 and words[0] in {*COMMANDS, "COMMAND", "--version"}:
            continue  # the name of a command, in a sentence; the version, which needs no click
        try:
            _parse(group, words)
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_the_pages_show_every_command() -> None:
    shown = {line.split()[1] for page in PAGES for line in _command_lines(page.read_text("utf-8"))}
    assert shown >= set(COMMANDS)


def test_the_reference_has_every_option() -> None:
    text = REFERENCE.read_text("utf-8")
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts = [*command.commands.values()] if isinstance(command, click.Group) else [command]
        for option in (option for part in parts for parameter in part.params for option in parameter.opts):
            assert not option.startswith("-") or f"`{option}" in text, f"{name} {option}"


def test_the_table_of_settings_is_up_to_date() -> None:
    page = REFERENCE.read_text("utf-8")
    assert page == reference.up_to_date(page), "run python tools/reference.py"


def test_the_table_of_settings_has_every_key() -> None:
    assert re.findall(r"^\| `([^`]+)`", reference.settings_table(), re.MULTILINE) == keys(Settings)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "decisions"], ids=_name)
def test_settings_that_are_named_exist(page: Path) -> None:
    known = keys(Settings)
    begins = {".".join(key.split(".")[: 2 if key.startswith("spark.") else 1]) for key in known if "." in key}
    for name in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)(?::[^`]*)?`", page.read_text("utf-8")):
        ours = any(name.startswith(begin) for begin in begins) and not name.endswith(".log")
        assert not ours or any(key == name or key.startswith(f"{name}.") for key in known), name


def test_the_example_of_a_site_is_valid() -> None:
    example = EXAMPLES / "config.yml"
    assert load([example], [], NO_SITE).settings.portal.origin == "https://ondemand.example.org"


def test_the_example_of_a_site_is_valid_with_all_that_is_commented_out(tmp_path: Path) -> None:
    text = (EXAMPLES / "config.yml").read_text("utf-8")
    site = tmp_path / "config.yml"
    site.write_text(re.sub(r"^( *)# ([a-z_]+: \S.*)$", r"\1\2", text, flags=re.MULTILINE))
    loaded = load([], [], {"OOD_RUNTIME_SITE_CONFIG": str(site)})
    assert loaded.settings.locked
    assert loaded.settings.spark.class_data_dirs


@pytest.mark.parametrize("job", JOBS, ids=_name)
def test_the_example_of_a_job_is_short_and_good_shell(job: Path) -> None:
    subprocess.run([need("shellcheck"), job], check=True)
    lines = job.read_text("utf-8").splitlines()
    assert len(lines) < 20
    assert lines[-1].startswith("exec ood-runtime start jupyter-spark --session-dir ")


# --- the portal's files, in the order in which Open OnDemand's job script runs its parts ---

JOB = """
cd "$1"
export host port
create_yml() { echo "host: too early" > connection.yml; }
clean_up() {
  [[ -e clean.sh ]] && source clean.sh
  pkill -P "$SCRIPT_PID"
  exit "${1:-0}"
}
host=$(hostname)
[[ -e before.sh ]] && source before.sh
./script.sh &
SCRIPT_PID=$!
source after.sh
create_yml
touch created
wait $SCRIPT_PID || clean_up 1
clean_up
"""
SESSION_THAT_WORKS = """
trap 'rm -f connection.yml; touch ended; exit 143' TERM
sleep 0.3
echo 'host: "node1"' > connection.yml
while [ ! -e stop ]; do sleep 0.05; done
rm connection.yml
"""
SESSION_THAT_FAILS = "exit 3"


@pytest.fixture
def portal_job(tmp_path: Path) -> Iterator[tuple[Path, list[str], dict[str, str]]]:
    """A staged directory with the files of docs/portal.md; how to run its job; where to put a session's stand-in."""
    page = (REPOSITORY / "docs" / "portal.md").read_text("utf-8")
    staged, programs = tmp_path / "staged", tmp_path / "bin"
    staged.mkdir()
    programs.mkdir()
    for name in ("script.sh", "after.sh"):
        match = re.search(rf"### template/{name}\n.*?```bash\n(.*?)```", page, re.DOTALL)
        assert match, name
        (staged / name).write_text(match[1])
        (staged / name).chmod(0o700)
    (tmp_path / "job").write_text(JOB)
    yield programs, ["bash", str(tmp_path / "job"), str(staged)], {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}


def _stand_in(programs: Path, text: str) -> None:
    program = programs / "ood-runtime"
    program.write_text(f'#!/bin/bash\n[[ "$*" == "start jupyter-spark --session-dir $PWD" ]] || exit 99\n{text}')
    program.chmod(0o700)


def test_the_portal_gets_the_sessions_own_connection(portal_job: tuple[Path, list[str], dict[str, str]]) -> None:
    programs, command, env = portal_job
    staged = Path(command[-1])
    _stand_in(programs, SESSION_THAT_WORKS)
    with subprocess.Popen(command, env=env) as job:
        _wait_for(staged / "created")
        assert (staged / "connection.yml").read_text() == 'host: "node1"\n'
        (staged / "stop").touch()
        assert job.wait(_PROTECTIVE_SECONDS) == 0


def test_a_session_that_fails_ends_the_job_at_once(portal_job: tuple[Path, list[str], dict[str, str]]) -> None:
    programs, command, env = portal_job
    _stand_in(programs, SESSION_THAT_FAILS)
    assert subprocess.run(command, env=env, timeout=_PROTECTIVE_SECONDS, check=False).returncode == 1
    assert not (Path(command[-1]) / "connection.yml").exists()


@pytest.mark.parametrize("moment", ["after.sh", "connection.yml"])
def test_deleting_the_card_ends_the_session(portal_job: tuple[Path, list[str], dict[str, str]], moment: str) -> None:
    programs, command, env = portal_job
    staged = Path(command[-1])
    _stand_in(programs, "touch started\n" + SESSION_THAT_WORKS)
    with subprocess.Popen(command, env=env) as job:
        _wait_for(staged / ("started" if moment == "after.sh" else moment))
        job.send_signal(signal.SIGTERM)
        assert job.wait(_PROTECTIVE_SECONDS) == 143
    assert (staged / "ended").exists()
    assert not (staged / "connection.yml").exists()


def test_the_page_of_the_card_is_no_code_for_markdown() -> None:
    page = (REPOSITORY / "docs" / "portal.md").read_text("utf-8")
    for block in re.findall(r"```erb\n(.*?)```", page, re.DOTALL):
        assert textwrap.dedent(block) == block
        assert not re.search(r"^ {4}", block, re.MULTILINE)
        assert "\n\n" not in block


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + _PROTECTIVE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.02)

"""What people read agrees with what there is: links, commands, settings, examples."""

import re
import shlex
import subprocess
import sys
import textwrap
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
from tools import port_table, reference

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("examples/**/*.md"),
        *REPOSITORY.glob("singularity/*.md"),
    ]
)
REFERENCE = REPOSITORY / "docs" / "reference.md"
EXAMPLES = REPOSITORY / "examples"
JOBS = sorted(EXAMPLES.glob("jobs/*.sh"))
SCRIPTS = sorted(EXAMPLES.glob("**/*.sh"))
NO_SITE = {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(?:[^`\s]*/)?(ood-runtime [^`]+)`")
_FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r'(?:^|\s)(?:exec |"?[$<]\()?(?:\S*/)?(ood-runtime (?:[a-z]+|-).*)$')


def _name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def _without_code(text: str) -> str:
    return re.sub(r"^ {4}.*$", "", _FENCED.sub("", text), flags=re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = _HEADING.findall(_without_code(page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_sphinx_builds_the_pages_without_a_warning(tmp_path: Path) -> None:
    """Every page is in a table of contents; links, anchors and images are there in what is built."""
    sphinx = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky"]
    built = subprocess.run(
        [*sphinx, REPOSITORY / "docs", tmp_path / "built", "--doctree-dir", tmp_path / "read"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    index = (tmp_path / "built" / "index.html").read_text("utf-8")
    assert all(f'href="{page.stem}.html"' in index for page in REPOSITORY.glob("docs/*.md") if page.stem != "index")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere_in_the_repository(page: Path) -> None:
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
    for line in re.sub(r" *\\\n\s*", " ", "".join(blocks)).splitlines():
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


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS, EXAMPLES / "config.yml"], ids=_name)
def test_commands_can_be_read(page: Path) -> None:
    text = page.read_text("utf-8")
    for line in _command_lines(f"```\n{text}```\n" if page.suffix == ".sh" else text):
        read = shlex.split(line.replace("$SCRIPT_PID", "1"), comments=True)
        words = [re.sub(r"^\[(\w+)\]$", r"\1", word) for word in read[1:]]
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
    """As it is typed, whoever makes the table."""
    text = REFERENCE.read_text("utf-8")
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts = [*command.commands.values()] if isinstance(command, click.Group) else [command]
        for option in (option for part in parts for parameter in part.params for option in parameter.opts):
            assert not option.startswith("-") or f"`{option}" in text, f"{name} {option}"


def test_the_tables_of_the_reference_are_up_to_date() -> None:
    page = REFERENCE.read_text("utf-8")
    assert page == reference.up_to_date(page), "run python tools/reference.py"


def test_the_reference_has_every_file_that_is_planned_and_says_which_are_secret() -> None:
    """By its name, or by that of its directory; N stands for a number."""
    rows = [line for line in REFERENCE.read_text("utf-8").splitlines() if line.startswith("| `")]
    planned = {
        (re.sub(r"-\d+\.", "-N.", name), bool(secret))
        for plan in (REPOSITORY / "tests" / "golden" / "expected").glob("*/plan.txt")
        for name, secret in re.findall(r"^file (\S+)( secret)?", plan.read_text("utf-8"), re.MULTILINE)
    }
    assert len(planned) > 50
    for name, secret in planned:
        own = [row for row in rows if f"`{name}`" in row.split(" | ")[0]]
        above = [row for row in rows for one in Path(name).parents if f"`{one}/`" in row.split(" | ")[0]]
        assert own or above, f"{name} is missing"
        assert not secret or any("secret" in row for row in own), f"{name}: does not say that it is secret"


def test_the_reference_has_every_key_of_a_connection() -> None:
    described = REFERENCE.read_text("utf-8").partition("### connection.yml")[2].partition("###")[0]
    plans = [plan.read_text("utf-8") for plan in (REPOSITORY / "tests" / "golden" / "expected").glob("*/plan.txt")]
    found = {key for plan in plans for key in re.findall(r"^(\w+): ", plan.partition("\nconnection.yml:\n")[2], re.M)}
    assert len(found) > 8
    assert [key for key in sorted(found) if f"| `{key}` |" not in described] == []


def test_the_table_of_ports_is_up_to_date() -> None:
    page = port_table.PAGE.read_text("utf-8")
    assert page == port_table.up_to_date(page), "run python tools/port_table.py"


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


def test_the_page_of_the_card_is_no_code_for_markdown() -> None:
    page = (REPOSITORY / "docs" / "portal.md").read_text("utf-8")
    for block in re.findall(r"```erb\n(.*?)```", page, re.DOTALL):
        assert textwrap.dedent(block) == block
        assert not re.search(r"^ {4}", block, re.MULTILINE)
        assert "\n\n" not in block

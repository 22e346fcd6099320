"""The only place that writes the tables of docs/reference.md, each from the code that it is about.

Commands and options are read from click, exit statuses from errors.py, settings from what they say of themselves.
``python tools/reference.py`` brings the page up to date; tests/unit/test_docs.py tells when it is not.
"""

import re
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from ood_runtime import errors
from ood_runtime.cli import COMMANDS
from ood_runtime.cli.group import group
from ood_runtime.settings import explain, load
from ood_runtime.settings.layers import Loaded, keys
from ood_runtime.settings.model import Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
BEGIN = "<!-- begin of {} that tools/reference.py writes -->"
END = "<!-- end of {} that tools/reference.py writes -->"


def up_to_date(page: str) -> str:
    """The text of the page with its tables as they should be now."""
    for name, table in {
        "commands": commands_table,
        "options": options_table,
        "settings": settings_table,
        "statuses": statuses_table,
    }.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, rest = page.split(begin)
        _, after = rest.split(end)
        page = f"{before}{begin}\n{table()}\n{end}{after}"
    return page


def commands_table() -> str:
    """One line for each command, and for each part of one that has parts, as its own help tells it."""
    rows = []
    for name, command in _commands():
        arguments = [_argument(one) for one in command.params if isinstance(one, click.Argument)]
        rows.append([f"`{' '.join(['ood-runtime', name, *arguments])}`", _told(command)])
    return _table(["Command", "What it does"], rows)


def options_table() -> str:
    """One line for each option, and the commands that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, command in _commands():
        for option in (one for one in command.params if isinstance(one, click.Option)):
            found.setdefault((_spelling(option), _meaning(option)), []).append(f"`{name}`")
    rows = [[spelling, ", ".join(names), meaning] for (spelling, meaning), names in found.items()]
    return _table(["Option", "Of", "Meaning"], rows)


def statuses_table() -> str:
    """One line for each exit status of ``ood-runtime start``."""
    ours: dict[int, list[str]] = {2: ["wrong usage"]}
    for name in vars(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.OodRuntimeError) and kind is not errors.OodRuntimeError:
            words = re.split(r"[;.]", str(kind.__doc__))[0]
            ours.setdefault(kind.exit_status, []).append(words[0].lower() + words[1:])
    signals = [f"{128 + one} after {one.name}" for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    rows = [
        ["0", "the session ended as asked: `ood-runtime stop`, or Jupyter was shut down from its menu"],
        [str(errors.OodRuntimeError.exit_status), "an error that nobody foresaw; please report it"],
        *([str(status), "; ".join(words)] for status, words in sorted(ours.items())),
        ["128+N", f"ended by signal N: {', '.join(signals)}"],
    ]
    return _table(["Status", "Meaning"], rows)


def settings_table() -> str:
    """One line for each setting: key, type, built-in value and meaning."""
    loaded = load((), (), {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"})
    rows = [_setting(key, loaded) for key in keys(Settings)]
    return _table(["Setting", "What it may be", "Built in", "What it means"], rows)


def _commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            for part in command.commands.values():
                yield f"{name} {part.name}", part
        elif command:
            yield name, command


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or str(argument.name).upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _told(command: click.Command) -> str:
    """The text of its help; a paragraph that is laid out by hand (after \\b) is for terminals."""
    paragraphs = str(command.help).split("\n\n")
    return " ".join(" ".join(paragraph.split()) for paragraph in paragraphs if "\b" not in paragraph)


def _spelling(option: click.Option) -> str:
    *others, last = [*option.opts, *option.secondary_opts]
    if not option.is_flag:
        kind = "NAME" if isinstance(option.type, click.Choice) else str(option.type.name).split()[0].upper()
        last += f" {option.metavar or kind}"
    return ", ".join(f"`{one}`" for one in (*others, last))


def _meaning(option: click.Option) -> str:
    """Its help, and what the help on a terminal adds by itself."""
    more = ""
    if isinstance(option.type, click.Choice):
        more += f" One of {', '.join(f'`{choice}`' for choice in option.type.choices)}."
    if option.show_default:
        more += (
            f" Default: {option.default:g}." if isinstance(option.default, float) else f" Default: `{option.default}`."
        )
    return f"{option.help}{more}"


def _setting(key: str, loaded: Loaded) -> list[str]:
    _, meaning, *facts = explain.explain(key, loaded).splitlines()
    named = dict(fact.strip().split(":", 1) for fact in facts)
    built_in = named["built in"].strip()
    return [f"`{key}`", named["type"].strip(), built_in if built_in == "(not set)" else f"`{built_in}`", meaning]


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.strip().replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")

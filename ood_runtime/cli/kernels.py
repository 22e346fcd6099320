"""``ood-runtime kernels list | write | remove | check``."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click

from ood_runtime import environment_software, jupyter_home, kernel_check, kernel_finder, kernel_folders, kernel_places
from ood_runtime.cli import options
from ood_runtime.cli.options import Decorator
from ood_runtime.environment_software import Provided
from ood_runtime.errors import MissingError, SessionError, SettingsError
from ood_runtime.kernel_folders import Entry, Folder
from ood_runtime.kernelspecs import Kernel
from ood_runtime.settings import load

Item = TypeVar("Item")

_OF_A_SESSION = "For the session that lives there. Default: $OOD_RUNTIME_SESSION_DIR."
_SAYS = {
    "written": ("+", "green", ""),
    "unchanged": ("=", None, ""),
    "removed": ("-", "yellow", ""),
    "foreign": ("✗", "red", "not ours: left alone"),
    "gone": ("!", "yellow", "not found any more: `ood-runtime kernels remove {name}` takes it away"),
}


@click.group("kernels")
def command() -> None:
    """Kernels for the site's modules, conda and virtual environments, R and Julia, as the settings name them."""


def _place() -> Decorator:
    """Where the kernelspecs are: ``--user``, ``--prefix``, or a session."""

    def decorate(function: Any) -> Any:
        function = click.option("--user", is_flag=True, help="For every Jupyter of yours.")(function)
        function = click.option(
            "--prefix",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            help="For everybody: below DIR/share/jupyter, as in /usr/local or where Jupyter is installed.",
        )(function)
        return options.session_directory(default_here=False, what=_OF_A_SESSION)(function)

    return decorate


@command.command("list")
@options.settings()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_kernels(config_files: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Show the kernels that the settings ask for, and what is missing for those that cannot be used."""
    kernels = _find(_provided(config_files, overrides))
    if as_json:
        click.echo(json.dumps([_as_dict(kernel) for kernel in kernels], indent=2))
        return
    for kernel in kernels:
        _tell("✗" if kernel.missing else "✓", "red" if kernel.missing else "green", kernel.title, _missing(kernel))


@command.command("write")
@options.settings()
@_place()
@click.option("--force", is_flag=True, help="Also over kernelspecs of the same name that others have written.")
def write_kernels(
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    user: bool,
    prefix: Path | None,
    session_dir: Path | None,
    force: bool,
) -> None:
    """Write a kernelspec for each kernel that can be used; what is right already stays as it is.

    Without --user or --prefix they are for the session only, and gone with it.
    """
    folder = _folder(user, prefix, session_dir)
    kernels = _find(_provided(config_files, overrides))
    for kernel in kernels:
        if kernel.missing:
            _tell("✗", "red", kernel.title, _missing(kernel))
    entries = kernel_folders.write(folder, [kernel for kernel in kernels if not kernel.missing], force=force)
    _tell_entries(entries)
    click.echo(f"in {folder.path}")
    _refuse_foreign(entries, "--force replaces them")


@command.command("remove")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="All that ood-runtime has written there.")
@_place()
def remove_kernels(
    names: tuple[str, ...], everything: bool, user: bool, prefix: Path | None, session_dir: Path | None
) -> None:
    """Take kernelspecs away that `ood-runtime kernels write` has written; never those of others."""
    folder = _folder(user, prefix, session_dir)
    if bool(names) == everything:
        raise click.UsageError("name the kernels to remove, or say --all")
    entries = kernel_folders.remove(folder, names or list(kernel_folders.ours(folder)))
    _tell_entries([entry for entry in entries if entry.state != "gone"])
    if absent := [entry.name for entry in entries if entry.state == "gone"]:
        raise SessionError(f"no kernel {', '.join(absent)} in {folder.path}", remedy="`jupyter kernelspec list`")
    _refuse_foreign(entries, "`jupyter kernelspec remove NAME` removes any")


@command.command("check")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@options.settings()
@_place()
def check_kernels(
    names: tuple[str, ...],
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    user: bool,
    prefix: Path | None,
    session_dir: Path | None,
) -> None:
    """Start each kernel, let it compute and end it. Exit status 3 when one does not work.

    Those that were written, with --user, --prefix or --session-dir; else those that `write` would write.
    """
    provided = _provided(config_files, overrides)
    with ExitStack() as stack:
        unusable: list[Kernel] = []
        if user or prefix or session_dir:
            folder = _folder(user, prefix, session_dir)
        else:
            folder = Folder(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ood-"))))
            kernels = _find(provided)
            unusable = [kernel for kernel in kernels if kernel.missing]
            kernel_folders.write(folder, [kernel for kernel in kernels if not kernel.missing])
        titles = kernel_folders.ours(folder)
        chosen = _chosen(names, titles, folder)
        seconds = provided.settings.kernels.look_seconds
        checks = kernel_check.check(folder, chosen, _python(provided), seconds, provided.environment)
        checked = list(_with_bar(checks, len(chosen), "starting kernels"))
    for one in checked:
        detail = f"{one.name}, {one.seconds:.1f} s" if one.works else f"{one.name}\n{one.why}"
        _tell("✓" if one.works else "✗", "green" if one.works else "red", titles[one.name], detail)
    for kernel in unusable if not names else ():
        _tell("✗", "red", kernel.title, _missing(kernel))
    failed = [one.name for one in checked if not one.works]
    if failed:
        raise MissingError(f"{len(failed)} of {len(checked)} kernels do not work: {', '.join(failed)}")
    if unusable and not names:
        sys.exit(MissingError.exit_status)


def _provided(config_files: tuple[Path, ...], overrides: tuple[str, ...]) -> Provided:
    """The settings, and the environment that the session's kernels begin with."""
    return environment_software.provide(load(config_files, overrides, os.environ).settings, os.environ)


def _find(provided: Provided) -> list[Kernel]:
    """All kernels that the settings ask for, also those that cannot be used. Raises MissingError, SettingsError."""
    settings, environment = provided.settings.kernels, provided.environment
    if not settings.wanted:
        raise SettingsError(
            "the settings ask for no kernels",
            remedy="say which, as in --set kernels.modules='[\"python/*\"]' (`ood-runtime config explain kernels`)",
        )
    places = kernel_places.find(settings, environment)
    looks = kernel_finder.look(places, settings.look_seconds, environment)
    kernels = [kernel for found in _with_bar(looks, len(places), "looking for kernels") for kernel in found]
    if not kernels:
        raise MissingError("no environment matches what kernels.* asks for", remedy="`ood-runtime config show`")
    return kernels


def _folder(user: bool, prefix: Path | None, session_dir: Path | None) -> Folder:
    here = os.environ.get("OOD_RUNTIME_SESSION_DIR")
    if sum(map(bool, (user, prefix, session_dir))) > 1:
        raise click.UsageError("--user, --prefix and --session-dir are different places: name one")
    if user:
        return kernel_folders.of_user(os.environ)
    if prefix:
        return kernel_folders.of_prefix(prefix.absolute())
    if session_dir or here:
        return kernel_folders.of_session(session_dir or Path(str(here)))
    raise click.UsageError("where to? --user, --prefix DIR, or --session-dir DIR of a session")


def _python(provided: Provided) -> Path:
    """The Python that Jupyter runs with, which has what starts kernels."""
    jupyter = provided.settings.jupyter
    found = jupyter_home.find(jupyter.command, jupyter.interface, provided.environment)
    return found.python or Path(sys.executable)


def _chosen(names: Sequence[str], titles: Iterable[str], folder: Folder) -> list[str]:
    there = list(titles)
    if absent := [name for name in names if name not in there]:
        raise SettingsError(
            f"no kernel {', '.join(absent)} of ours in {folder.path}; there are: {', '.join(there) or 'none'}"
        )
    return list(names) or there


def _with_bar(items: Iterable[Item], length: int, label: str) -> Iterable[Item]:
    """The items, while a bar on a terminal tells how many there were."""
    with click.progressbar(items, length=length, label=label, file=sys.stderr) as bar:
        yield from bar


def _tell_entries(entries: Iterable[Entry]) -> None:
    for entry in entries:
        sign, colour, words = _SAYS[entry.state]
        detail = " ".join(filter(None, (entry.name, words.format(name=entry.name))))
        _tell(sign, colour, entry.title, detail)


def _refuse_foreign(entries: Iterable[Entry], remedy: str) -> None:
    if foreign := [entry.name for entry in entries if entry.state == "foreign"]:
        raise SessionError(f"left alone, since ood-runtime has not written them: {', '.join(foreign)}", remedy=remedy)


def _tell(sign: str, colour: str | None, title: str, detail: str) -> None:
    lines = detail.replace("\n", "\n    ")
    click.echo(f"{click.style(sign, fg=colour)} {title:<40}  {lines}".rstrip())


def _missing(kernel: Kernel) -> str:
    return f"{kernel.missing}\n→ {kernel.remedy}" if kernel.missing else kernel.directory


def _as_dict(kernel: Kernel) -> dict[str, Any]:
    told = {key: value for key, value in asdict(kernel).items() if key != "environment"}
    return {**told, "kernel": kernel.directory if kernel.language else None, "title": kernel.title}

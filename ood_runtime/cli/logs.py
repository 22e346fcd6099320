"""``ood-runtime logs [NAME]``."""

import time
from pathlib import Path

import click

from ood_runtime import session
from ood_runtime.cli import options
from ood_runtime.errors import SessionError


@click.command("logs")
@click.argument("name", required=False)
@options.session_directory(default_here=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until the session ends.")
@click.option(
    "-n",
    "--lines",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Lines of each log to begin with.",
)
def command(name: str | None, session_dir: Path, follow: bool, lines: int) -> None:
    """Show the session's logs, or only that of the service NAME."""
    paths = sorted((session_dir / "logs").glob("*.log"))
    if name:
        paths = [path for path in paths if path.stem == name]
    if not paths:
        there = ", ".join(sorted(path.stem for path in (session_dir / "logs").glob("*.log"))) or "none"
        raise SessionError(
            f"no log {name or ''} in {session_dir / 'logs'}; there are: {there}",
            remedy="name the session's directory with --session-dir",
        )
    ends = {path: _show_last(path, lines, header=len(paths) > 1) for path in paths}
    shown = paths[-1]
    while follow and session.running(session_dir):
        for path in paths:
            text, ends[path] = _read_from(path, ends[path])
            if text:
                if path != shown:
                    click.secho(f"==> {path.stem} <==", bold=True)
                    shown = path
                click.echo(text, nl=False)
        time.sleep(0.3)


def _show_last(path: Path, lines: int, *, header: bool) -> int:
    text, end = _read_from(path, 0)
    if header:
        click.secho(f"==> {path.stem} <==", bold=True)
    last = text.splitlines(keepends=True)[-lines:] if lines else []
    click.echo("".join(last), nl=bool(last) and not last[-1].endswith("\n"))
    return end


def _read_from(path: Path, offset: int) -> tuple[str, int]:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    return data.decode("utf-8", "replace"), offset + len(data)

"""``ood-runtime publish PATH``."""

from pathlib import Path

import click

from ood_runtime import connection, readiness
from ood_runtime.cli import options


@click.command("publish")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
@options.session_directory(default_here=True)
@options.starter()
def command(path: Path, session_dir: Path, pid: int | None, timeout: float | None) -> None:
    """Wait until the session is ready, then write its connection to PATH, whole or not at all.

    It is what the portal's function create_yml should do: when the session fails, this ends at once with the reason,
    and PATH is not written. May be called again. PATH goes when the session ends.
    """
    connection.copy(session_dir, readiness.until_ready(session_dir, pid, timeout), path)

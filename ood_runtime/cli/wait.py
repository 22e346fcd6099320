"""``ood-runtime wait``."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from ood_runtime import readiness
from ood_runtime.cli import options
from ood_runtime.errors import SessionError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@click.command("wait")
@options.session_directory(default_here=True)
@options.starter()
@click.option("--shell", "as_shell", is_flag=True, help="Print assignments for a shell's eval, the password too.")
@click.option("--json", "as_json", is_flag=True, help="Print the connection for programs, the password too.")
def command(session_dir: Path, pid: int | None, timeout: float | None, as_shell: bool, as_json: bool) -> None:
    """Wait until the session is ready. When it fails, this ends at once with the reason."""
    if as_shell and as_json:
        raise click.UsageError("--shell and --json exclude each other")
    values = _values(readiness.until_ready(session_dir, pid, timeout))
    if as_json:
        click.echo(json.dumps(values, indent=2))
    elif as_shell:
        click.echo(assignments(values), nl=False)
    else:
        click.echo("the session is ready")


def assignments(values: Mapping[str, Any]) -> str:
    """One assignment a line, for eval in any POSIX shell.

    Raises SessionError for a key that is no variable's name: eval would run it.
    """
    wrong = [key for key in values if not _NAME.fullmatch(key)]
    if wrong:
        raise SessionError(f"connection.yml has keys that are no names of variables: {', '.join(map(repr, wrong))}")
    return "".join(f"{key}={shlex.quote(str(value))}\n" for key, value in values.items())


def _values(text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SessionError(
            f"connection.yml cannot be read: {error}", remedy="something other than ood-runtime wrote it"
        ) from error
    if not isinstance(values, dict):
        raise SessionError("connection.yml holds no mapping", remedy="something other than ood-runtime wrote it")
    return {str(key): value for key, value in values.items()}

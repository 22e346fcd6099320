"""``ood-runtime config show | schema | explain``."""

import json
import os
from pathlib import Path

import click

from ood_runtime.cli import options
from ood_runtime.settings import explain, load
from ood_runtime.settings.model import Settings


@click.group("config")
def command() -> None:
    """Show the settings and where each comes from, their JSON Schema, or what one means."""


@command.command("show")
@options.settings()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(config_files: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Show every setting, its value and where that comes from."""
    loaded = load(config_files, overrides, os.environ)
    rows = explain.rows(loaded)
    if as_json:
        click.echo(json.dumps({key: {"value": value, "source": source} for key, value, source in rows}, indent=2))
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        click.echo(f"{key:<{width}}  {explain.text(value):<24}  " + click.style(source, dim=source == explain.BUILT_IN))


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a settings file, for editors and checkers."""
    click.echo(json.dumps(Settings.model_json_schema(), indent=2))


@command.command("explain")
@click.argument("key")
@options.settings()
def explain_key(key: str, config_files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Tell what KEY means, what it may be, what it is and where that comes from."""
    click.echo(explain.explain(key, load(config_files, overrides, os.environ)))

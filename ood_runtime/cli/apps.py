"""``ood-runtime apps``."""

import json
import os
from pathlib import Path

import click

from ood_runtime import apps, doctor
from ood_runtime.cli import options
from ood_runtime.settings import load


@click.command("apps")
@options.settings()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(config_files: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what can be started on this node, and what is missing for the rest."""
    missing = doctor.missing(load(config_files, overrides, os.environ).settings, os.environ)
    if as_json:
        click.echo(json.dumps(missing, indent=2))
        return
    for name, app in sorted(apps.available().items()):
        mark = click.style("✓", fg="green") if not missing[name] else click.style("✗", fg="red")
        click.echo(f"{mark} {name:<16} {app.summary}")
        if missing[name]:
            indented = missing[name].replace("\n", "\n      ")
            click.echo(f"      {indented}")

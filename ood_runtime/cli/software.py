"""``ood-runtime software APP``: how the ood-runtime of a node asks the one in an image. Not for people."""

import os
import sys

import click
from pydantic import ValidationError

from ood_runtime import container_software
from ood_runtime.errors import SettingsError
from ood_runtime.settings import Settings


@click.command("software", hidden=True)
@click.argument("app")
def command(app: str) -> None:
    """Print what APP would use here, as JSON, with the settings that come as JSON on standard input."""
    try:
        settings = Settings.model_validate_json(sys.stdin.read() or "{}")
    except ValidationError as error:
        raise SettingsError(f"settings of another version of ood-runtime: {error}") from error
    click.echo(container_software.tell(app, settings, os.environ))

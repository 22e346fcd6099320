"""The commands as one click group, and how an error becomes the last lines on stderr and an exit status."""

import importlib
import sys

import click

from ood_runtime.cli import COMMANDS, INTERNAL
from ood_runtime.errors import OodRuntimeError


class Lazy(click.Group):
    """Loads the module of a command when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, or None when there is none of that name."""
        if cmd_name not in (*COMMANDS, *INTERNAL):
            return None
        command: click.Command = importlib.import_module(f"ood_runtime.cli.{cmd_name}").command
        return command


@click.group(cls=Lazy, name="ood-runtime", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ood-runtime")
def group() -> None:
    """Jupyter and RStudio with a Spark cluster, inside a batch job."""


def run(supervised: object = None) -> None:
    """Run the group; an error that we know is told in words, not as a traceback. ``supervised`` is for ``start``."""
    try:
        group(prog_name="ood-runtime", obj=supervised)
    except OodRuntimeError as error:
        report(error)
        sys.exit(error.exit_status)


def report(error: OodRuntimeError) -> None:
    """The last lines on stderr: what failed, which log shows it, what to do."""
    click.secho(f"ood-runtime: {error.what}", fg="red", err=True)
    if error.log:
        click.echo(f"  log: {error.log}", err=True)
    if error.remedy:
        click.echo(f"  what to do: {error.remedy}", err=True)

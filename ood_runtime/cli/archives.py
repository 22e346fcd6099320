"""``ood-runtime archives build | list``."""

import os
import sys
from pathlib import Path

import click

from ood_runtime import class_data, java, spark_home
from ood_runtime.class_data_build import build
from ood_runtime.cli import options
from ood_runtime.environment_software import provide
from ood_runtime.errors import MissingError
from ood_runtime.settings import load
from ood_runtime.spark_software import archive_directories


@click.group("archives")
def command() -> None:
    """Class-data archives: what Java has loaded once, kept so that it starts in half the time."""


@command.command("build")
@options.settings()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to keep them; name it in spark.class_data_dirs. Default: your own cache directory.",
)
def build_archives(config_files: tuple[Path, ...], overrides: tuple[str, ...], directory: Path | None) -> None:
    """Build the archives for this node's Spark and Java now; takes a minute or two of CPU time.

    Sessions build them by themselves when there are none. A site builds them once, into a directory that only root
    or the owner of the software can write to.
    """
    provided = provide(load(config_files, overrides, os.environ).settings, os.environ)
    settings, environment = provided.settings.spark, provided.environment
    found = java.find(settings.java_home, environment), spark_home.find(settings.home, environment)
    target = directory or archive_directories(settings, environment)[-1]
    archives = build(*found, target, log=click.echo, python=Path(settings.python or sys.executable))
    click.echo(str(archives.directory))


@command.command("list")
@options.settings()
def list_archives(config_files: tuple[Path, ...], overrides: tuple[str, ...]) -> None:
    """Show the archives that a session on this node would use. Exit status 3 when there are none."""
    provided = provide(load(config_files, overrides, os.environ).settings, os.environ)
    settings, environment = provided.settings.spark, provided.environment
    found = java.find(settings.java_home, environment), spark_home.find(settings.home, environment)
    directories = archive_directories(settings, environment)
    archives = class_data.find(*found, directories)
    if not archives:
        looked = ", ".join(map(str, directories))
        raise MissingError(f"no class-data archives that fit in {looked}", remedy="`ood-runtime archives build`")
    click.echo(str(archives.directory))

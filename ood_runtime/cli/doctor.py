"""``ood-runtime doctor [APP]``."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from ood_runtime import apps, doctor
from ood_runtime.cli import options
from ood_runtime.errors import MissingError
from ood_runtime.finding import BAD, GOOD, WARNING
from ood_runtime.settings import load

_MARKS = {GOOD: ("✓", "green"), WARNING: ("!", "yellow"), BAD: ("✗", "red")}


@click.command("doctor")
@click.argument("app", required=False)
@options.settings()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(app: str | None, config_files: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool) -> None:
    """Check what sessions, or those of APP, need on this node.

    Exit status 3 when something is missing.
    """
    if app:
        apps.get(app)
    findings = doctor.examine(load(config_files, overrides, os.environ).settings, os.environ, app)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            mark, colour = _MARKS[finding.state]
            detail = finding.detail.replace("\n", "\n" + " " * (width + 4))
            click.echo(f"{click.style(mark, fg=colour)} {finding.what:<{width}}  {detail}")
            if finding.remedy:
                click.echo(f"  {'':<{width}}  → {finding.remedy}")
    if any(finding.state == BAD for finding in findings):
        sys.exit(MissingError.exit_status)

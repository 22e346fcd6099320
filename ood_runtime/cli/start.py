"""``ood-runtime start APP``."""

import os
import sys
from pathlib import Path

import click

from ood_runtime.cli import options
from ood_runtime.cli.guarded import Supervised
from ood_runtime.errors import SettingsError


@click.command("start")
@click.argument("app")
@options.session_directory(default_here=False)
@options.settings()
@click.option("--launcher", metavar="NAME", help="As --set launcher=NAME. Not set: found from the job's environment.")
@click.option("--allow-root", is_flag=True, help="Run as root: for a demonstration in a container, or a test.")
@click.pass_obj
def command(
    supervised: Supervised,
    app: str,
    session_dir: Path | None,
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    launcher: str | None,
    allow_root: bool,
) -> None:
    """Run a session of APP in this allocation, in the foreground, until it ends.

    Writes connection.yml into the session's directory when the session is ready, and removes it when that is over.

    \b
    Exit status: 0 ended as asked; 2 bad usage or settings; 3 something is missing on this node;
    4 a service was not ready in time; 5 a service died; 128+N ended by signal N.
    """
    if os.geteuid() == 0 and not allow_root:
        raise SettingsError(
            "start refuses to run as root: everything in the session, notebooks included, would have root's power",
            remedy="run it as the user who will work in it, or add --allow-root in a container or a test",
        )
    asked = options.request(app, session_dir, config_files, overrides, launcher=launcher, allow_root=allow_root)

    # Loaded while the planner loads its libraries, which takes longer; probes come with every plan.
    from ood_runtime import lifecycle, probes  # noqa: F401, PLC0415
    from ood_runtime.progress import Progress  # noqa: PLC0415

    sys.exit(lifecycle.run(supervised.planner, asked, supervised.announce, Progress()))

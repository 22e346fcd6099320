"""The options that several commands share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ood_runtime.request import Request

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


_HERE = "The session's directory. Default: $OOD_RUNTIME_SESSION_DIR, else the current one."
_OF_THE_JOB = (
    "Where the session lives. Default: the job's directory: the current one, or where the job was submitted for "
    "schedulers that start jobs in the home directory."
)


def session_directory(*, default_here: bool, what: str = _OF_THE_JOB) -> Decorator:
    """``--session-dir``: for commands about a session, by default $OOD_RUNTIME_SESSION_DIR or the current directory.

    ``what`` it is for other commands.
    """
    return click.option(
        "--session-dir",
        "session_dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="OOD_RUNTIME_SESSION_DIR" if default_here else None,
        default=Path() if default_here else None,
        callback=lambda ctx, parameter, value: Path(os.path.abspath(value)) if value is not None else None,  # noqa: PTH100
        help=_HERE if default_here else what,
    )


def starter() -> Decorator:
    """``--pid`` and ``--timeout``, for who waits for a session."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "--timeout",
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="Give up after so many seconds, with exit status 4; also how long to wait for a session to begin. "
            "Not set: only when the session has ended.",
        )(function)
        return click.option(
            "--pid",
            type=click.IntRange(min=1),
            metavar="PID",
            help="The process that starts the session ($SCRIPT_PID in the portal's job script): there may be none yet, "
            "and its end, or the session's, is an error at once, with the reason and the session's exit status. "
            "Without it there must be a session already.",
        )(function)

    return decorate


def settings() -> Decorator:
    """``--config`` and ``--set``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one setting, as in --set spark.worker.cores=4; may be repeated.",
        )(function)
        return click.option(
            "--config",
            "config_files",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="A settings file of this session; may be repeated, the last one is the strongest.",
        )(function)

    return decorate


def request(
    app: str,
    session_dir: Path | None,
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    *,
    launcher: str | None = None,
    allow_root: bool = False,
) -> Request:
    """What was asked for; without --session-dir the job's directory is used."""
    if launcher:
        overrides = (*overrides, f"launcher={launcher}")
    return Request(
        app=app,
        environment=dict(os.environ),
        session_directory=session_dir,
        config_files=config_files,
        overrides=overrides,
        allow_root=allow_root,
    )

"""``ood-runtime stop``."""

import socket
import time
from pathlib import Path

import click

from ood_runtime import processes, session
from ood_runtime.cli import options
from ood_runtime.errors import NotReadyError, SessionError
from ood_runtime.signals import STOP_SIGNAL


@click.command("stop")
@options.session_directory(default_here=True)
@click.option(
    "--timeout", default=60.0, show_default=True, metavar="SECONDS", help="How long to wait until it is gone."
)
def command(session_dir: Path, timeout: float) -> None:
    """End the session of this directory and wait until it is gone.

    Works from any node that sees the directory. Also clears up after a session that was killed.
    """
    record = session.read_record(session_dir)
    if not session.running(session_dir):
        for notice in session.clear_after(session_dir):
            click.echo(notice)
        click.echo("the session is over")
        return
    here = record.host == socket.gethostname()
    reachable = here and record.started_at and processes.started_at(record.pid) == record.started_at
    try:
        session.ask_to_stop(session_dir)
    except OSError as error:  # a full disk
        if not reachable:
            raise SessionError(
                f"cannot leave word for the session in {session_dir}: {error.strerror}",
                remedy=f"run this on {record.host}, or end its job with the scheduler (scancel, qdel)",
            ) from error
    if reachable:
        processes.send([record.pid], STOP_SIGNAL)
    deadline = time.monotonic() + timeout
    while session.running(session_dir):
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"the session on {record.host} has not ended after {timeout:.0f} s",
                remedy="end its job with the scheduler (scancel, qdel), then run this again",
            )
        time.sleep(0.05)
    click.echo("the session is over")

"""``ood-runtime history DIR``."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from ood_runtime import history_entrance, history_server, settings, spark_software
from ood_runtime.cli import options
from ood_runtime.errors import ServiceDiedError, SettingsError
from ood_runtime.failures import describe
from ood_runtime.history_server import HistoryServer
from ood_runtime.private_files import write
from ood_runtime.secret import Secret, password
from ood_runtime.signals import heard


@click.command("history")
@click.argument("directory", type=click.Path(path_type=Path), default=Path(), metavar="[DIR]")
@options.settings()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Listen there. Not set: on any free port.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write address and secret there, for the owner only, instead of showing them; removed at the end.",
)
def command(
    directory: Path, config_files: tuple[Path, ...], overrides: tuple[str, ...], port: int, secret_file: Path | None
) -> None:
    """Show the Spark applications of the session in DIR, also when it is over, until you press Ctrl-C.

    Starts Spark's history server on this machine, for you alone: the page asks for a secret, which is new each time.
    DIR is a session's directory, by default the current one, or any directory with event logs.
    """
    if not secret_file and not sys.stdout.isatty():
        raise SettingsError(
            "the secret is shown on a terminal only, and this is none", remedy="name a file for it with --secret-file"
        )
    event_logs = history_server.find_logs(directory.absolute())
    values = settings.load(config_files, overrides, os.environ).settings
    software = spark_software.find(values.spark, None, os.environ, kernel=False)
    base, secret = f"/{secrets.token_hex(8)}", password()
    with _ended_by_signals(), history_server.started(software, values, event_logs, base) as server:
        count = server.applications()
        status = asyncio.run(_serve(server, port, base, secret, f"{event_logs}: {_counted(count)}", secret_file))
        raise ServiceDiedError(f"Spark's history server ended with {describe(status)}")


async def _serve(
    server: HistoryServer, port: int, base: str, secret: Secret, what: str, secret_file: Path | None
) -> int:
    """Serve until Spark's server ends by itself; its status."""
    with history_entrance.opened(port, base, secret, server) as number:
        text = f"address: http://127.0.0.1:{number}{base}/\nsecret: {secret.reveal()}"
        try:
            if secret_file:
                write(secret_file, f"{text}\n")
            click.echo(f"{what}\n{f'address and secret are in {secret_file}' if secret_file else text}")
            tunnel = f"ssh -L {number}:127.0.0.1:{number} {socket.gethostname()}"
            click.echo(f"from another machine: {tunnel}, then the same address\nCtrl-C ends it")
            return await history_entrance.until_end(server.process)
        finally:
            if secret_file:
                with suppress(OSError):
                    secret_file.unlink()


def _counted(count: int) -> str:
    return {0: "reading the applications ...", 1: "1 application"}.get(count, f"{count} applications")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let the signals that end a program also clear up."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in heard():
        signal.signal(number, end)
    yield

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
from urllib.parse import urlsplit

import click

from ood_runtime import history_entrance, history_server, place, ports, settings, spark_software
from ood_runtime.cli import options
from ood_runtime.errors import SettingsError
from ood_runtime.history_entrance import Way
from ood_runtime.history_server import HistoryServer
from ood_runtime.private_files import write
from ood_runtime.secret import password
from ood_runtime.settings import Settings
from ood_runtime.signals import heard


@click.command("history")
@click.argument(
    "directory", type=click.Path(path_type=Path), default=Path(), envvar="OOD_RUNTIME_SESSION_DIR", metavar="[DIR]"
)
@options.settings()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Listen there. Not set: on any free port."
)
@click.option(
    "--portal",
    is_flag=True,
    help="Let it be opened through the portal, on a node that the portal reaches. Not set: on this machine only.",
)
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write address and secret there, for the owner only, instead of showing them; removed at the end.",
)
def command(
    directory: Path,
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    port: int,
    portal: bool,
    secret_file: Path | None,
) -> None:
    """Show the Spark applications of the session in DIR, also when it is over, until you press Ctrl-C.

    Starts Spark's history server on this machine, for you alone: the page asks for a secret, which is new each time.
    DIR is a session's directory, or any directory with event logs. Default: $OOD_RUNTIME_SESSION_DIR, else the current
    one.
    """
    if not secret_file and not sys.stdout.isatty():
        raise SettingsError(
            "the secret is shown on a terminal only, and this is none", remedy="name a file for it with --secret-file"
        )
    event_logs = history_server.find_logs(directory.absolute())
    values = settings.load(config_files, overrides, os.environ).settings
    software = spark_software.find(values.spark, None, os.environ, kernel=False)
    with (
        _ended_by_signals(),
        _way(values, port, portal=portal) as way,
        history_server.started(software, values, event_logs, way.base) as server,
    ):
        click.echo(f"{event_logs}: {_counted(server.applications())}")
        asyncio.run(_serve(server, way, secret_file))
        raise server.death()


@contextmanager
def _way(values: Settings, port: int, *, portal: bool) -> Iterator[Way]:
    """The way in: on loopback, at a path that nobody can guess; or where the portal finds it, which is in its path."""
    if not portal:
        yield Way("127.0.0.1", port, f"/{secrets.token_hex(8)}")
        return
    where = place.find(values.host, values.address, os.environ)
    with ports.hold(("history",), values.ports.min, values.ports.max) as held:
        number = port or held["history"]
        base = f"{values.portal.rnode_uri}/{where.host}/{number}"
        yield Way(where.address, number, base, hidden=False, url=values.portal.origin or "https://YOUR_PORTAL")


async def _serve(server: HistoryServer, way: Way, secret_file: Path | None) -> None:
    """Tell the way in, and serve until Spark's server ends by itself."""
    secret = password()
    with history_entrance.opened(way, secret, server) as address:
        text = f"address: {address}\nsecret: {secret.reveal()}"
        try:
            if secret_file:
                write(secret_file, f"{text}\n")
            click.echo(f"address and secret are in {secret_file}" if secret_file else text)
            if not way.url:
                number = urlsplit(address).port
                click.echo(f"from another machine first: ssh -L {number}:127.0.0.1:{number} {socket.gethostname()}")
            click.echo("Ctrl-C ends it")
            await history_entrance.until_end(server.process)
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

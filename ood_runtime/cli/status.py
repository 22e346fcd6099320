"""``ood-runtime status``."""

import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ood_runtime import kernel_logs, session
from ood_runtime.cli import cluster_table, options
from ood_runtime.cli.cluster_table import duration
from ood_runtime.errors import SessionError
from ood_runtime.status import ENDED, FAILED

_COLOURS = {
    "ready": "green",
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "restarting": "yellow",
    "failed": "red",
}
_BAR = 24
_WIDE = 1 << 16  # columns, where no terminal has an edge


@click.command("status")
@options.session_directory(default_here=True)
@click.option("--json", "as_json", is_flag=True, help="For programs: status.json, and kernels that have failed.")
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until the session ends.")
def command(session_dir: Path, as_json: bool, watch: bool) -> None:
    """Show what runs where, and how far a start has come."""
    if as_json:
        click.echo(json.dumps(read(session_dir), indent=2))
        return
    while True:
        state = read(session_dir)
        if watch:
            click.clear()
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDE
        click.echo(table(state, time.time(), width))
        if not watch or state["state"] in (ENDED, FAILED):
            return
        time.sleep(1)


def read(directory: Path) -> dict[str, Any]:
    """The status of the session in ``directory``; one that was killed without a word counts as failed.

    Raises SessionError when there is none.
    """
    try:
        state: dict[str, Any] = json.loads((directory / session.STATUS).read_text())
    except FileNotFoundError:
        raise SessionError(f"no session in {directory}", remedy="name its directory with --session-dir") from None
    except (OSError, ValueError) as error:
        raise SessionError(f"{directory / session.STATUS} cannot be read: {error}") from error
    if state["state"] not in (ENDED, FAILED) and not session.running(directory):
        what = "the session was killed before it could say why"
        remedy = "`ood-runtime stop` clears up what it left; see the job's own output for the reason"
        state |= {"state": FAILED, "message": what, "error": {"what": what, "remedy": remedy, "log": ""}}
    state["kernels"] = [asdict(kernel) for kernel in kernel_logs.failed(directory, state["started_at"])]
    return state


def table(state: dict[str, Any], now: float, width: int = _WIDE) -> str:
    """The status as a person reads it on a terminal of ``width`` columns."""
    head = f"{state['app']} on {state['host']}"
    lines = [
        f"{click.style(head, bold=True)}   {_colour(state['state'])}   {_times(state, now)}",
        state["message"],
        "",
    ]
    services = state["services"]
    if services:
        counted = [service for service in services if not service["background"]]
        done = sum(service["state"] in ("ready", "running") for service in counted)
        lines.append(f"{_bar(done, len(counted))} {done} of {len(counted)} services{_workers(state)}")
        lines += [
            "",
            click.style(f"{'SERVICE':<14}{'STATE':<12}{'PID':>8}{'SINCE':>14}{'RESTARTS':>10}   DETAIL", dim=True),
        ]
        lines += [_row(service, state["ended_at"] or now) for service in services]
    lines += cluster_table.lines(state, now, width)
    lines += _failed_kernels(state)
    lines += [f"note: {notice}" for notice in state.get("notices", ())]
    error = state.get("error")
    if error:
        lines += ["", click.style(error["what"], fg="red")]
        lines += [f"log: {error['log']}"] if error.get("log") else []
        lines += [f"what to do: {error['remedy']}"] if error.get("remedy") else []
    return "\n".join(lines)


def _failed_kernels(state: dict[str, Any]) -> list[str]:
    """The kernels that died while they started, or could not be started again."""
    lines = []
    for kernel in state.get("kernels", ()):
        lines += ["", click.style(f"the kernel {kernel['title']} has failed", fg="red")]
        lines += [f"  {line}" for line in kernel["said"]]
        lines += [f"  log: {kernel['log']}"]
    return lines


def _row(service: dict[str, Any], now: float) -> str:
    since = duration(now - service["since"]) if service["since"] else ""
    return (
        f"{service['name']:<14}{_colour(service['state'], 12)}{service['pid'] or '':>8}{since:>14}"
        f"{service['restarts'] or '':>10}   {service['detail']}"
    )


def _times(state: dict[str, Any], now: float) -> str:
    parts = [f"for {duration((state['ended_at'] or now) - state['started_at'])}"]
    if state["ends_at"] and not state["ended_at"]:
        parts.append(f"{duration(state['ends_at'] - now)} left")
    return ", ".join(parts)


def _workers(state: dict[str, Any]) -> str:
    workers = state.get("workers") if not state["ended_at"] else None
    counted = (
        [f"{workers['ready']} of {workers['wanted']} Spark workers", cluster_table.in_use(state)] if workers else []
    )
    return "".join(f", {words}" for words in counted if words)


def _bar(done: int, of: int) -> str:
    full = _BAR * done // of
    return click.style("━" * full, fg="green") + click.style("━" * (_BAR - full), dim=True)


def _colour(state: str, width: int = 0, text: str = "") -> str:
    return click.style(f"{text or state:<{width}}", fg=_COLOURS.get(state))

"""``ood-runtime status``."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ood_runtime import kernel_logs, session
from ood_runtime.cli import options
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
_WORKERS = 20  # lines
GIB = 1 << 30


@click.command("status")
@options.session_directory(default_here=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
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
        click.echo(table(state, time.time()))
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


def table(state: dict[str, Any], now: float) -> str:
    """The status as a person reads it."""
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
    lines += _each_worker(state)
    lines += _failed_kernels(state)
    lines += [f"note: {notice}" for notice in state.get("notices", ())]
    error = state.get("error")
    if error:
        lines += ["", click.style(error["what"], fg="red")]
        lines += [f"log: {error['log']}"] if error.get("log") else []
        lines += [f"what to do: {error['remedy']}"] if error.get("remedy") else []
    return "\n".join(lines)


def _each_worker(state: dict[str, Any]) -> list[str]:
    """One line for each worker of a cluster that has several, those that are lost first."""
    each = (state.get("workers") or {}).get("each") or []
    if len(each) < 2 or state["ended_at"]:
        return []
    rows = [
        f"{'' if worker['rank'] is None else worker['rank']:>6}  {worker['host']:<24}"
        f"{_colour('ready' if worker['alive'] else 'failed', 8, 'alive' if worker['alive'] else 'lost')}"
        f"{worker['cores']:>6}{worker['memory'] / GIB:>10.1f} GiB"
        for worker in sorted(each, key=lambda worker: bool(worker["alive"]))
    ]
    more = [f"and {len(rows) - _WORKERS} more: --json has all"] if len(rows) > _WORKERS else []
    head = click.style(f"{'WORKER':>6}  {'NODE':<24}{'STATE':<8}{'CORES':>6}{'MEMORY':>14}", dim=True)
    return ["", head, *rows[:_WORKERS], *more]


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
    return f", {workers['ready']} of {workers['wanted']} Spark workers" if workers else ""


def _bar(done: int, of: int) -> str:
    full = _BAR * done // of
    return click.style("━" * full, fg="green") + click.style("━" * (_BAR - full), dim=True)


def _colour(state: str, width: int = 0, text: str = "") -> str:
    return click.style(f"{text or state:<{width}}", fg=_COLOURS.get(state))


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"

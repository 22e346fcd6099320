"""A cluster as ``ood-runtime status`` shows it: its workers and applications, in tables as wide as the terminal."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import click

_LINES = 20
_NARROWEST = 8  # columns that a name keeps, however narrow the terminal is
_GAP = "  "
_COLOURS = {"alive": "green", "running": "green", "lost": "red"}
GIB = 1 << 30


def lines(state: dict[str, Any], now: float, width: int) -> list[str]:
    """The tables of the session's ``state``, at most ``width`` columns wide if that can be; none where there is no
    cluster, or none any more.
    """
    if state["ended_at"]:
        return []
    workers = (state.get("workers") or {}).get("each") or []
    return [*_workers(workers, width), *_applications(state.get("applications") or [], now, width)]


def in_use(state: dict[str, Any]) -> str:
    """How many of the cluster's cores are in use, in words; nothing where it has none."""
    workers = [worker for worker in (state.get("workers") or {}).get("each") or [] if worker["alive"]]
    cores = sum(worker["cores"] for worker in workers)
    return f"{sum(worker.get('cores_used', 0) for worker in workers)} of {cores} cores in use" if cores else ""


def _workers(workers: Sequence[dict[str, Any]], width: int) -> list[str]:
    """One line for each worker, those that are lost first."""
    gpus = any(worker.get("gpus") for worker in workers)
    head = ["WORKER", "NODE", "STATE", "CORES", "MEMORY GiB", *(["GPUS"] if gpus else []), "EXECUTORS"]
    rows = [
        [
            "" if worker["rank"] is None else str(worker["rank"]),
            plain(worker["host"]),
            "alive" if worker["alive"] else "lost",
            f"{worker.get('cores_used', 0)}/{worker['cores']}",
            f"{worker.get('memory_used', 0) / GIB:.1f}/{worker['memory'] / GIB:.1f}",
            *([f"{worker.get('gpus_used', 0)}/{worker.get('gpus', 0)}"] if gpus else []),
            "?" if worker.get("executors") is None else str(worker["executors"]),
        ]
        for worker in sorted(workers, key=lambda worker: bool(worker["alive"]))
    ]
    return _table(head, rows, elastic=1, width=width)


def _applications(applications: Sequence[dict[str, Any]], now: float, width: int) -> list[str]:
    head = ["APPLICATION", "NAME", "STATE", "CORES", "SINCE"]
    rows = [
        [
            plain(application["id"]),
            plain(application["name"]),
            plain(application["state"]).lower(),
            str(application["cores"]),
            duration(now - application["started_at"]),
        ]
        for application in applications
    ]
    return _table(head, rows, elastic=1, width=width)


def _table(head: list[str], rows: list[list[str]], *, elastic: int, width: int) -> list[str]:
    """Aligned columns, an empty line before them. What does not fit is cut in the ``elastic`` one."""
    if not rows:
        return []
    shown = rows[:_LINES]
    widths = [max(map(columns, cells)) for cells in zip(head, *shown, strict=True)]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    widths[elastic] = max(min(widths[elastic], _NARROWEST), widths[elastic] - max(over, 0))
    body = [_line(row, widths) for row in shown]
    more = [f"and {len(rows) - _LINES} more: --json has all"] if len(rows) > _LINES else []
    return ["", click.style(_line(head, widths), dim=True), *body, *more]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_cell(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _cell(text: str, width: int) -> str:
    """``text`` in so many columns; what is a number or a share of one is on the right."""
    cut = _cut(text, width)
    fill = " " * (width - columns(cut))
    colour = _COLOURS.get(text)
    styled = click.style(cut, fg=colour) if colour else cut
    return fill + styled if text[:1].isdigit() and text.strip("0123456789./") == "" else styled + fill


def _cut(text: str, width: int) -> str:
    if columns(text) <= width:
        return text
    kept = text
    while columns(kept) > width - 1:
        kept = kept[:-1]
    return kept + "…"


def plain(text: object) -> str:
    """One line of ``text``, which somebody else has chosen: nothing in it tells the terminal what to do."""
    return "".join(char if char.isprintable() else "?" for char in str(text))


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"

"""Measure the first result of a new notebook: stock PySpark against ours, cold and warm, on the same kind of cluster.

    .venv/bin/python -m benchmarks.first_result --rounds 5

Each case has a session of its own, in turns. docs/performance.md says what is measured, and has results. Run it on a
machine that does nothing else.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

if not __package__:  # run as a file: our directory is no place for imports, the one above it is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.cells import FIRST, FIRST_RESULT, Notebook
from benchmarks.programs import Software, Started, session
from benchmarks.standing import ratio
from benchmarks.start import build_archives, find_software
from ood_runtime import java_properties

STOCK = "stock-pyspark"
_FRAME, _FRAME_RESULT = "spark.range(1000).selectExpr('sum(id)').collect()", "499500"
# What a program must know to be let in; all else is as Spark comes.
_ACCESS = ("spark.master", "spark.authenticate", "spark.network.crypto", "spark.io.encryption")


@dataclass(frozen=True)
class Case:
    """A notebook with ``kernel`` in a session with ``settings``, after so many others; what its first cell computes."""

    name: str
    settings: tuple[str, ...] = ("spark.warm=off",)
    kernel: str = "pyspark"
    cell: tuple[str, str] = (FIRST, FIRST_RESULT)
    others: int = 0


CASES = (
    Case("stock", kernel=STOCK),
    Case("cold"),
    Case("gateway", ("spark.warm=gateway",)),
    Case("context", ("spark.warm=context",)),
    Case("stock_frame", kernel=STOCK, cell=(_FRAME, _FRAME_RESULT)),
    Case("context_frame", ("spark.warm=context",), cell=(_FRAME, _FRAME_RESULT)),
    # The second notebook of those that share a driver: the first one has woken it up.
    Case("shared_frame", ("spark.sharing=connect",), "pyspark-shared", (_FRAME, _FRAME_RESULT), others=1),
)
# Ours, against what, at most so many times its time.
TARGETS = (
    ("cold", "stock", 0.75),
    ("gateway", "stock", 0.6),
    ("context", "stock", 0.25),
    ("shared_frame", "stock_frame", 0.2),
)


def measure(case: Case, software: Software) -> float:
    """Seconds from the request for the kernel to the first result, in a session that has come to rest."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        _stock_kernel(software, home)
        with session(software, home, case.settings) as started:
            _let_stock_in(home)
            started.settle()
            with contextlib.ExitStack() as stack:
                for _ in range(case.others):
                    stack.callback(_notebook(started, case).end)
                    started.settle()
                notebook = _notebook(started, case)
                stack.callback(notebook.end)
                return notebook.first_seconds


def _notebook(started: Started, case: Case) -> Notebook:
    return Notebook(started, case.kernel, *case.cell)


def _stock_kernel(software: Software, home: Path) -> None:
    """A kernelspec with what pyspark's documentation says: its shell as the start-up file of a Python kernel."""
    package = next(path / "pyspark" for path in software.python_path if (path / "pyspark").is_dir())
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "stock PySpark",
        "language": "python",
        "env": {
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": f"--properties-file {home / 'stock.conf'} pyspark-shell",
            "PYTHONPATH": os.pathsep.join(map(str, software.python_path)),
            "PYTHONSTARTUP": str(package / "shell.py"),
            "SPARK_HOME": str(software.spark_home),
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
    }
    directory = home / ".local/share/jupyter/kernels" / STOCK
    directory.mkdir(parents=True)
    (directory / "kernel.json").write_text(json.dumps(spec))


def _let_stock_in(home: Path) -> None:
    """The few entries without which the session's cluster takes no application."""
    entries = java_properties.read((home / "session/ood-runtime/spark/spark.conf").read_text())
    needed = [f"{key} {value}" for key, value in entries.items() if key.startswith(_ACCESS)]
    file = home / "stock.conf"
    file.touch(0o600)
    file.write_text("\n".join([*needed, "spark.driver.host 127.0.0.1", "spark.driver.bindAddress 127.0.0.1", ""]))


def verdicts(seconds: dict[str, list[float]]) -> Iterator[tuple[str, float, float]]:
    """For each target that was measured: what, the ratio of the medians, and what is allowed."""
    for ours, against, most in TARGETS:
        if seconds.get(ours) and seconds.get(against):
            yield f"{ours}, against {against}", ratio(seconds[ours], seconds[against]), most


def table(seconds: dict[str, list[float]]) -> str:
    """What was measured, as it stands in docs/performance.md."""
    lines = ["| Seconds | Median | Least | Most | Runs |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {name} | {median(values):.2f} | {min(values):.2f} | {max(values):.2f} | {len(values)} |"
        for name, values in seconds.items()
    ]
    lines += ["", "| Target | Measured | Allowed | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {what} | {got:.2f} | {most:.2f} | {'met' if got <= most else 'MISSED'} |"
        for what, got, most in verdicts(seconds)
    ]
    return "\n".join(lines)


def run(cases: tuple[Case, ...], rounds: int) -> dict[str, list[float]]:
    """All cases in turns, every second round in the opposite order; the first round only warms the caches."""
    software = find_software()
    build_archives(software)
    seconds: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        print(f"round {number} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        for case in cases if number % 2 else reversed(cases):
            took = measure(case, software)
            print(f"  {case.name:<16}{took:8.2f}", file=sys.stderr, flush=True)
            if number:
                seconds[case.name].append(took)
    return seconds


def main() -> int:
    """Measure, print a table, or JSON; exit status 1 when --check is given and a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="that count (default: 5)")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only these")
    parser.add_argument("--json", action="store_true", help="print every run, for programs")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    arguments = parser.parse_args()
    if os.geteuid() == 0:
        parser.error("run it as an ordinary user: sessions refuse root")
    seconds = run(tuple(case for case in CASES if case.name in (arguments.case or case.name)), arguments.rounds)
    print(json.dumps({"cores": os.cpu_count(), "seconds": seconds}) if arguments.json else table(seconds))
    return int(arguments.check and not all(got <= most for _, got, most in verdicts(seconds)))


if __name__ == "__main__":
    sys.exit(main())

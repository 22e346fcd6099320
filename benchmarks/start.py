"""Measure a session against bare JupyterLab, bare Spark and stock PySpark, in one run and in turns.

    .venv/bin/python -m benchmarks.start --rounds 5

docs/performance.md says what is measured, and has results. Run it on a machine that does nothing else.
"""

import argparse
import contextlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

if not __package__:  # run as a file: our directory is no place for imports, the one above it is
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.cells import JOBS, Notebook
from benchmarks.programs import Software, bare_jupyter, bare_spark, environment, free_port, session
from benchmarks.standing import MEGABYTE, help_seconds, idle, ratio
from ood_runtime import java, launchers, spark_home, spark_sizes
from ood_runtime.settings import Settings

_HELP_RUNS = 41
_WARM_UP = 2
_PAIRS = 8  # of clusters that the CPU-bound jobs are run on


@dataclass(frozen=True)
class Target:
    """``ours`` is to be at most ``most`` times ``against``."""

    ours: str
    against: str
    most: float
    meaning: str


TARGETS = (
    Target("start", "jupyter", 1.2, "start to connection.yml, against bare JupyterLab"),
    Target("start_without_archives", "jupyter", 2.0, "the same without class-data archives"),
    Target("first_result", "stock_first_result", 0.75, "first `sc` result in a notebook, against stock PySpark"),
    *(Target(f"{job}_job", f"stock_{job}_job", 1.03, f"CPU-bound job ({job}), against stock settings") for job in JOBS),
    Target("help", "python", 4.0, "`ood-runtime --help`, against `python -c pass`"),
)
_IDLE_MEMORY, _IDLE_SHARE = 40 * MEGABYTE, 0.005


@dataclass
class Results:
    """Seconds of every run by name; what the idle session costs."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, *values: float) -> None:
        """Note one or more runs."""
        self.seconds.setdefault(name, []).extend(values)
        print(f"  {name:<24}" + " ".join(f"{value:8.3f}" for value in values[:8]), file=sys.stderr, flush=True)


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """A directory that becomes the home of what is started."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def stock(software: Software, results: Results) -> None:
    """Bare JupyterLab, then bare Spark beside it at rest, then the first result of a notebook on both."""
    master = free_port()
    with _place() as one, bare_jupyter(software, one, f"spark://127.0.0.1:{master}") as jupyter:
        results.add("jupyter", jupyter.seconds)
        jupyter.settle()
        with _place() as two, bare_spark(software, two, master) as spark:
            results.add("spark", spark.seconds)
            spark.settle()
            notebook = Notebook(jupyter, "python3")
            results.add("stock_first_result", notebook.first_seconds)
            notebook.end()


def ours(software: Software, results: Results) -> None:
    """A session, and the first result of a notebook in it."""
    with _place() as place, session(software, place, ["spark.warm=off"]) as started:
        results.add("start", started.seconds)
        started.settle()
        notebook = Notebook(started, "pyspark")
        results.add("first_result", notebook.first_seconds)
        notebook.end()


def without_archives(software: Software, results: Results) -> None:
    """A session whose JVMs have no class-data archives, such as a site's or user's very first."""
    with _place() as place, session(software, place, ["spark.class_data=off", "spark.warm=off"]) as started:
        results.add("start_without_archives", started.seconds)
        started.settle()
        notebook = Notebook(started, "pyspark")
        results.add("first_result_no_archives", notebook.first_seconds)
        notebook.end()


def jobs(software: Software, results: Results, rounds: int) -> None:
    """The same jobs on our cluster and on a stock one, in turns: whoever does not work costs nothing.

    What a JVM's compiler makes of a loop differs by some per cent from one start to the next. A loop of Python's
    depends as much on where its objects lie in memory, which the length of any variable of the environment changes,
    and nothing else: so each of _PAIRS has a padding of another length, the same for both.
    """
    master = free_port()
    padding = {"spark.executorEnv.PADDING": "x" * random.randrange(1, 512)}
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(_place()) for _ in range(3)]
        theirs = stack.enter_context(bare_jupyter(software, places[0], f"spark://127.0.0.1:{master}", padding))
        stack.enter_context(bare_spark(software, places[1], master))
        # All cores, as the other one has them: what sharing costs is said in docs/performance.md.
        settings = [f"spark.conf={json.dumps(padding)}"]
        own = stack.enter_context(session(software, places[2], settings))
        notebooks = {"stock_": Notebook(theirs, "python3"), "": Notebook(own, "pyspark")}
        for notebook in notebooks.values():
            notebook.prepare()
        for job in JOBS:
            for count in range(-_WARM_UP, rounds):
                for prefix in sorted(notebooks, reverse=bool(count % 2)):
                    seconds = notebooks[prefix].job(job, software.cores)
                    if count >= 0:
                        results.add(f"{prefix}{job}_job", seconds)


def standing(software: Software, results: Results, seconds: float) -> None:
    """What we cost when nothing happens."""
    with _place() as place:
        nothing, ours_ = help_seconds(place, environment(software, place), _HELP_RUNS)
        results.add("python", *nothing)
        results.add("help", *ours_)
        with session(software, place) as started:
            started.settle()
            results.idle = idle(started, place / "session", seconds)


def find_software() -> Software:
    """The Java and Spark that a session here would use."""
    the_java, spark = java.find(None, os.environ), spark_home.find(None, os.environ)
    if java.needs_shim(the_java, spark):
        sys.exit(f"{the_java.home} lacks {java.VECTOR}, without which stock Spark does not run: set JAVA_HOME")
    settings = Settings()
    node = launchers.choose(None, os.environ).allocation(os.environ, Path.cwd(), settings).nodes[0]
    worker = spark_sizes.compute([node], settings.spark).worker
    return Software(the_java.home, spark.home, spark.python_path, worker.cores if worker else 0)


def build_archives(software: Software) -> None:
    """Build the class-data archives, unless they are there."""
    with _place() as place:
        if _archives("list", software, place).returncode:
            built = _archives("build", software, place)
            if built.returncode:
                sys.exit(f"cannot build class-data archives: {built.stderr}")


def _archives(action: str, software: Software, home: Path) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "ood_runtime", "archives", action]
    return subprocess.run(argv, env=environment(software, home), capture_output=True, text=True, check=False)


def measure(rounds: int, job_rounds: int, idle_seconds: float) -> Results:
    """Everything; the first round of starts only warms the caches."""
    software, results = find_software(), Results()
    build_archives(software)
    parts = [stock, ours, without_archives]
    for part in parts:
        part(software, Results())
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        for part in parts if number % 2 else reversed(parts):
            part(software, results)
    standing(software, results, idle_seconds)
    for _ in range(_PAIRS):
        jobs(software, results, job_rounds)
    return results


def verdicts(results: Results) -> Iterator[tuple[str, str, str, bool]]:
    """For each target: what it is about, what was measured, what is allowed, whether it is met."""
    for target in TARGETS:
        if target.ours in results.seconds:
            value = ratio(results.seconds[target.ours], results.seconds[target.against])
            yield target.meaning, f"{value:.2f}", f"{target.most:.2f}", value <= target.most
    pss, share = results.idle["pss"], results.idle["share"]
    yield "idle: memory of guard and supervisor (PSS)", f"{pss / MEGABYTE:.1f} MB", "40 MB", pss < _IDLE_MEMORY
    rss = results.idle["supervisor_rss"]
    yield "idle: memory of the supervisor alone (RSS)", f"{rss / MEGABYTE:.1f} MB", "40 MB", rss < _IDLE_MEMORY
    yield "idle: share of a core", f"{100 * share:.2f} %", "0.5 %", share < _IDLE_SHARE


def table(results: Results) -> str:
    """What was measured, as it stands in docs/performance.md."""
    lines = ["| Seconds | Median | Least | Most | Runs |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, values in results.seconds.items():
        digits = 3 if median(values) < 1 else 2
        numbers = " | ".join(f"{value:.{digits}f}" for value in (median(values), min(values), max(values)))
        lines.append(f"| {name} | {numbers} | {len(values)} |")
    lines += ["", "| Target | Measured | Allowed | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {what} | {got} | {most} | {'met' if met else 'MISSED'} |" for what, got, most, met in verdicts(results)
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print a table, or JSON; exit status 1 when --check is given and a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of starts (default: 5)")
    parser.add_argument(
        "--job-rounds", type=int, default=3, help="of CPU-bound jobs on each pair of clusters (default: 3)"
    )
    parser.add_argument("--idle-seconds", type=float, default=60, help="to watch an idle session (default: 60)")
    parser.add_argument("--json", action="store_true", help="print every run, for programs")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    arguments = parser.parse_args()
    if os.geteuid() == 0:
        parser.error("run it as an ordinary user: sessions refuse root")
    results = measure(arguments.rounds, arguments.job_rounds, arguments.idle_seconds)
    if arguments.json:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
        met = {what: {"measured": got, "allowed": most, "met": ok} for what, got, most, ok in verdicts(results)}
        print(json.dumps({"machine": machine, "seconds": results.seconds, "idle": results.idle, "targets": met}))
    else:
        print(table(results))
    return int(arguments.check and not all(met for *_, met in verdicts(results)))


if __name__ == "__main__":
    sys.exit(main())

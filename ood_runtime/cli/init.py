"""``ood-runtime init APP DIRECTORY``."""

import os
import sys
from pathlib import Path

import click

from ood_runtime import settings
from ood_runtime.errors import SettingsError
from ood_runtime.portal_app import SCHEDULERS, Answers, AppFile, files


@click.command("init")
@click.argument("app")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--cluster", metavar="NAME", help="The cluster's name in the portal: that of its file in clusters.d.")
@click.option(
    "--scheduler", type=click.Choice(SCHEDULERS), help="The cluster's scheduler; slurm where nobody can be asked."
)
@click.option("--spark-module", metavar="NAME", help="The environment module that has Spark.")
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="NAME",
    help="An environment module that the job loads; may be repeated.",
)
@click.option(
    "--command",
    "tool",
    metavar="PATH",
    help="The jupyter-lab, jupyter-notebook or rserver to start, where PATH has none.",
)
@click.option(
    "--portal", metavar="URL", help="The portal's address, as in https://HOST, where no site file has portal.origin."
)
@click.option(
    "--program",
    metavar="PATH",
    help="ood-runtime, as the job finds it. Default: the path of this one.",
)
@click.option(
    "--parallel-environment",
    default="mpi",
    show_default=True,
    metavar="NAME",
    help="Grid Engine's, with control_slaves TRUE.",
)
@click.option("--title", default="", metavar="TEXT", help="The app's name in the portal's menu.")
@click.option("--force", is_flag=True, help="Write files again that are different by now; keeps yours as *.orig.")
def command(
    app: str,
    directory: Path,
    cluster: str | None,
    scheduler: str | None,
    spark_module: str | None,
    modules: tuple[str, ...],
    tool: str | None,
    portal: str | None,
    program: str | None,
    parallel_environment: str,
    title: str,
    force: bool,
) -> None:
    """Write a complete Open OnDemand interactive app into DIRECTORY.

    APP is jupyter, jupyter-spark, rstudio or rstudio-spark.

    On a terminal it asks for what no option says. A file that is different by now is left alone, and named; then
    nothing is written, and the exit status is 2.
    """
    if cluster is None:
        cluster = _ask("The cluster's name in the portal (its file in clusters.d)", None)
    if scheduler is None:
        scheduler = _ask("Its scheduler", "slurm", click.Choice(SCHEDULERS))
    if spark_module is None and app.endswith("-spark"):
        spark_module = _ask("The environment module that has Spark, if any", "")
    if tool is None:
        kind = "jupyter-lab" if app.startswith("jupyter") else "rserver"
        tool = _ask(f"The path of {kind}, if it is not found by itself", "")
    needs_portal = portal is None and app.startswith("jupyter") and not _has_origin()
    if needs_portal:
        portal = _ask("The portal's address, as in https://HOST, if the nodes' site file does not have it", "")
    answers = Answers(
        app=app,
        cluster=cluster,
        scheduler=scheduler,
        modules=(*modules, *(spark_module or "").split()),
        program=program or _own_program(),
        command=tool,
        portal=(portal or "").rstrip("/"),
        parallel_environment=parallel_environment,
        title=title,
    )
    write(directory, files(answers), force=force)
    for doubt in _doubts(answers, needs_portal=needs_portal):
        click.echo(f"note: {doubt}", err=True)


def _own_program() -> str:
    """How jobs find ood-runtime: by the path of the one that runs, if that is a program."""
    here = Path(sys.argv[0])
    return str(here.absolute()) if here.name == "ood-runtime" else "ood-runtime"


def _doubts(answers: Answers, *, needs_portal: bool) -> list[str]:
    """What may be right on the nodes, but is not here."""
    doubts = []
    if answers.program.startswith("/") and not os.access(answers.program, os.X_OK):
        doubts.append(f"{answers.program} is no program on this machine; the nodes must have it")
    if needs_portal and not answers.portal:
        doubts.append(
            "the settings of this machine have no portal.origin, and --portal was not given: where those of the nodes "
            "have none either, Jupyter refuses logins through the portal"
        )
    return doubts


def _has_origin() -> bool:
    try:
        return settings.load((), (), os.environ).settings.portal.origin is not None
    except SettingsError:
        return False


def write(directory: Path, wanted: tuple[AppFile, ...], *, force: bool) -> None:
    """Write ``wanted`` into ``directory``, and tell what became of each; all of them or none.

    Raises SettingsError when a file there says something else, unless ``force``, and when one cannot be written.
    """
    try:
        there = {file.name: _read(directory / file.name) for file in wanted}
        changed = [file.name for file in wanted if there[file.name] not in (None, file.content.encode())]
        if changed and not force:
            raise SettingsError(
                "these files are different by now, and nothing was written:\n"
                + "\n".join(f"    {directory / name}" for name in changed),
                remedy="write into another directory and copy what you want; or --force, which keeps yours as *.orig",
            )
        for file in wanted:
            path = directory / file.name
            if there[file.name] == file.content.encode():
                click.echo(f"unchanged  {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = _keep(path) if file.name in changed else None
            path.write_text(file.content, "utf-8")
            path.chmod(0o755 if file.executable else 0o644)  # others run it, from where the portal has it
            click.echo(f"replaced   {path} (yours is {kept.name})" if kept else f"written    {path}")
    except OSError as error:
        raise SettingsError(f"cannot write {error.filename or directory}: {error.strerror}") from error


def _keep(path: Path) -> Path:
    """Keep what is there under another name, in the place of what was kept before."""
    return path.replace(path.with_name(f"{path.name}.orig"))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _ask(question: str, default: str | None, kind: click.Choice[str] | None = None) -> str:
    """The answer of who sits there; without a terminal the default."""
    if sys.stdin.isatty():
        return str(click.prompt(question, default=default, type=kind, show_default=bool(default)))
    if default is None:
        raise click.UsageError("--cluster is needed where nobody can be asked")
    return default

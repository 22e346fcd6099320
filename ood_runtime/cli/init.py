"""``ood-runtime init APP DIRECTORY``."""

import sys
from pathlib import Path

import click

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
    "--program", default="ood-runtime", show_default=True, metavar="PATH", help="ood-runtime, as the job finds it."
)
@click.option(
    "--parallel-environment",
    default="mpi",
    show_default=True,
    metavar="NAME",
    help="Grid Engine's, with control_slaves TRUE.",
)
@click.option("--title", default="", metavar="TEXT", help="The app's name in the portal's menu.")
@click.option("--force", is_flag=True, help="Write files again that are different by now.")
def command(
    app: str,
    directory: Path,
    cluster: str | None,
    scheduler: str | None,
    spark_module: str | None,
    modules: tuple[str, ...],
    tool: str | None,
    portal: str | None,
    program: str,
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
    answers = Answers(
        app=app,
        cluster=cluster,
        scheduler=scheduler,
        modules=(*modules, *(spark_module or "").split()),
        program=program,
        command=tool,
        portal=portal or "",
        parallel_environment=parallel_environment,
        title=title,
    )
    write(directory, files(answers), force=force)


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
                remedy="compare with what `ood-runtime init` writes into another directory; --force writes them again",
            )
        for file in wanted:
            path = directory / file.name
            if there[file.name] == file.content.encode():
                click.echo(f"unchanged  {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content, "utf-8")
            path.chmod(0o755 if file.executable else 0o644)  # others run it, from where the portal has it
            click.echo(f"{'written' if there[file.name] is None else 'replaced':<11}{path}")
    except OSError as error:
        raise SettingsError(f"cannot write {error.filename or directory}: {error.strerror}") from error


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

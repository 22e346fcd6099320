"""``ood-runtime plan APP``."""

import json
from pathlib import Path
from typing import Any

import click

from ood_runtime import masking, ports, secret
from ood_runtime.cli import options
from ood_runtime.environment_changes import changes, reaches
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Directories, File, Grant, Outline, Plan
from ood_runtime.planning import Prepared, prepare
from ood_runtime.private_files import write
from ood_runtime.secret import MASK, Secret


@click.command("plan")
@click.argument("app")
@options.session_directory(default_here=False)
@options.settings()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path),
    metavar="DIRECTORY",
    help="Also write the files, secrets masked, into a new directory.",
)
def command(
    app: str,
    session_dir: Path | None,
    config_files: tuple[Path, ...],
    overrides: tuple[str, ...],
    as_json: bool,
    target: Path | None,
) -> None:
    """Print everything that `start APP` would write and run, with secrets masked. Starts nothing.

    The ports are free now; `start` draws its own.
    """
    prepared = prepare(options.request(app, session_dir, config_files, overrides))
    outline = prepared.outline
    secrets = {name: getattr(secret, kind)() for name, kind in outline.secret_names.items()}
    with ports.hold(outline.port_names, *outline.port_range) as numbers:
        plan = prepared.plan(_directories(outline), Grant(numbers, secrets))
    files = {file: masking.mask(file.content, secrets.values()) for file in plan.files}
    if target:
        _write(files, target)
    click.echo(_as_json(prepared, plan, files) if as_json else _as_text(prepared, plan, files))


def _directories(outline: Outline) -> Directories:
    root = outline.session_directory
    scratch = outline.scratch_base / "ood-SCRATCH"
    local = tuple(base / "ood-SCRATCH" for base in outline.local_bases)
    return Directories(root, root / "ood-runtime", root / "logs", scratch, scratch, local)


def _write(files: dict[File, str], target: Path) -> None:
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise SettingsError(f"--write: {target} is not empty", remedy="name a new directory")
    except OSError as error:
        raise SettingsError(f"--write: {target}: {error.strerror}", remedy="name a new directory") from error
    for file, content in files.items():
        path = target / file.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(path, content, 0o700 if file.executable else 0o600)


def _connection(plan: Plan) -> dict[str, str | int]:
    return {key: MASK if isinstance(value, Secret) else value for key, value in plan.connection.items()}


def _as_json(prepared: Prepared, plan: Plan, files: dict[File, str]) -> str:
    loaded = changes(prepared.request.environment, prepared.environment)
    document: dict[str, Any] = {
        "app": plan.app,
        "url": plan.url,
        "notices": (*prepared.outline.notices, *plan.notices),
        "environment": {
            "steps": prepared.settings.environment.steps,
            "set": loaded.set,
            "unset": loaded.unset,
            "functions": loaded.functions,
            "reaches": reaches(plan),
        },
        "connection": _connection(plan),
        "services": [
            {
                "name": service.name,
                "argv": service.argv,
                "environment": dict(service.environment),
                "directory": str(service.directory),
                "after": service.after,
                "ports": service.ports,
                "essential": service.essential,
                "restarts": service.restarts,
                "log": service.log,
            }
            for service in plan.services
        ],
        "checks": [{"name": check.name, "after": check.after, "log": check.log} for check in plan.checks],
        "files": [
            {"name": file.name, "mode": _mode(file), "secret": file.secret, "content": content}
            for file, content in files.items()
        ],
    }
    return json.dumps(document, indent=2)


def _as_text(prepared: Prepared, plan: Plan, files: dict[File, str]) -> str:
    notices = (*prepared.outline.notices, *plan.notices)
    lines = [f"# {plan.app}: {plan.url}", *(f"# note: {notice}" for notice in notices), ""]
    lines += [*_loaded(prepared, plan), "## Services"]
    for service in plan.services:
        after = f" after {', '.join(service.after)}" if service.after else ""
        lines += ["", f"### {service.name}{after}", *_environment(service.environment), masking.shell(service.argv)]
    lines += ["", "## Proven before the session is ready, beside what each service answers for itself"]
    lines += [f"{check.name} after {', '.join(check.after)}" for check in plan.checks] or ["nothing"]
    lines += ["", "## Files in ood-runtime/ of the session's directory"]
    for file, content in files.items():
        lines += [
            "",
            f"### {file.name} ({_mode(file)}{', erased at the end' if file.secret else ''})",
            content.rstrip(),
        ]
    lines += ["", "## connection.yml (0600), written last"]
    lines += [f"{key}: {json.dumps(value)}" for key, value in _connection(plan).items()]
    return "\n".join(lines)


def _loaded(prepared: Prepared, plan: Plan) -> list[str]:
    """The environment of the settings: what loads it, what that changes, and where it goes."""
    if not prepared.settings.environment.loads:
        return []
    loaded = changes(prepared.request.environment, prepared.environment)
    return [
        "## Environment, loaded once by bash before anything starts",
        *prepared.settings.environment.steps,
        "",
        "### It changes",
        *_environment({**loaded.set, **dict.fromkeys(loaded.unset)}),
        *(f"function {name}" for name in loaded.functions),
        "",
        "### It reaches",
        *reaches(plan),
        "",
    ]


def _environment(environment: Any) -> list[str]:
    return [
        f"unset {name}" if value is None else f"{name}={masking.shell([value])}"
        for name, value in sorted(environment.items())
    ]


def _mode(file: File) -> str:
    return "0700" if file.executable else "0600"

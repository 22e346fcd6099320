"""What an image holds: asked of the ood-runtime in it, and told to the one on the node."""

import base64
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ood_runtime import __version__, apps, isolation, rserver_options
from ood_runtime.allocation import Allocation
from ood_runtime.container import Container
from ood_runtime.context import Software
from ood_runtime.errors import MissingError
from ood_runtime.isolation import Isolation
from ood_runtime.settings import Settings
from ood_runtime.spark_home import Spark

_SECONDS = 300  # an image on a cold file system, unpacked first where it cannot be mounted
_REMEDY = "see singularity/README.md for an image with it, or unset environment.container"
_GPU_OPTIONS = {"nvidia": ("--nv",), "rocm": ("--rocm",), "none": ()}


@dataclass(frozen=True)
class InImage(Spark):
    """A Spark whose files only the container sees: what the node would look up in them."""

    launcher_options: tuple[str, ...] = ()
    python_path: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What the ood-runtime in an image says: its ``version``, and what it has found for an app."""

    version: str
    software: Software
    launcher_options: tuple[str, ...] = ()
    python_path: tuple[Path, ...] = ()
    ui_filter: str = ""  # base64


_ANSWERS = TypeAdapter(Answer)


def tell(app: str, settings: Settings, environment: Mapping[str, str]) -> str:
    """The answer of this ood-runtime, which is in the image, for ``app``. Raises MissingError as the app does."""
    # The node's ood-runtime gives RStudio a /tmp of its own, by a bind.
    outside = settings.rstudio.model_copy(update={"isolation": "none", "image": None})
    found = apps.get(app).find(settings.model_copy(update={"rstudio": outside}), environment)
    if found.spark is None:
        return _ANSWERS.dump_json(Answer(__version__, found)).decode()
    spark, ui_filter = found.spark.spark, found.spark.ui_filter
    software = replace(found, spark=replace(found.spark, ui_filter=None))
    encoded = base64.b64encode(ui_filter or b"").decode()
    answer = Answer(__version__, software, spark.launcher_options, spark.python_path, encoded)
    return _ANSWERS.dump_json(answer).decode()


def find(settings: Settings, environment: Mapping[str, str], allocation: Allocation) -> Container:
    """The container of the settings, and what runs it on this node. Raises MissingError when that cannot be."""
    image = settings.environment.container
    if image is None or not image.exists():
        raise MissingError(f"environment.container: there is no {image}", remedy=f"on the node itself; {_REMEDY}")
    program = isolation.installed("apptainer", environment)
    if program is None:
        raise MissingError(
            f"environment.container is {image}, but neither apptainer nor singularity is on PATH",
            remedy="install Apptainer or SingularityCE, or load its module",
        )
    binds = tuple(_expanded(bind, environment) for bind in settings.environment.binds)
    return Container(program, image, _gpu_options(settings.environment.gpus, environment, allocation), binds)


def ask(container: Container, app: str, settings: Settings, environment: Mapping[str, str]) -> Software:
    """What ``app`` will use in the container. Raises MissingError with what the ood-runtime in there says."""
    inner = settings.model_dump_json(exclude={"environment", "locked"}, exclude_unset=True)
    try:
        with tempfile.TemporaryDirectory(prefix="ood-") as own_tmp:  # what others have in /tmp is not in the way there
            argv = [*container.words(own_tmp=Path(own_tmp)), "ood-runtime", "software", app]
            done = subprocess.run(
                argv, env=dict(environment), cwd="/", input=inner, capture_output=True, text=True,
                timeout=_SECONDS, check=False,
            )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{container.image} cannot be used: {error}", remedy=_REMEDY) from error
    try:
        answer = _ANSWERS.validate_json(done.stdout)
    except ValidationError:
        said = done.stderr.strip() or f"status {done.returncode}, and nothing that can be read"
        raise MissingError(f"in {container.image}: {said}", remedy=_REMEDY) from None
    if answer.version != __version__:
        raise MissingError(
            f"{container.image} has ood-runtime {answer.version}, and this one is {__version__}",
            remedy="build the image again, or install the version that it has",
        )
    return _here(answer, container)


def look(app: apps.App, settings: Settings, environment: Mapping[str, str]) -> Software:
    """What ``app`` would use outside of any job: on this node, or in the container of the settings."""
    if settings.environment.container is None:
        return app.find(settings, environment)
    nowhere = Allocation("local", "", (), Path("/"))
    return ask(find(settings, environment, nowhere), app.name, settings, environment)


def _here(answer: Answer, container: Container) -> Software:
    """The answer as the node's ood-runtime uses it: it looks at no file in the image, and builds nothing there."""
    software = answer.software
    if software.spark:
        found = software.spark.spark
        spark = InImage(found.home, found.version, found.scala, found.jars, answer.launcher_options, answer.python_path)
        ui_filter = base64.b64decode(answer.ui_filter) or None
        software = replace(
            software, spark=replace(software.spark, spark=spark, ui_filter=ui_filter, archive_directory=None)
        )
    if software.rstudio and rserver_options.why_own_tmp(software.rstudio.rserver.options):
        own = Isolation("container", container.program, container.image)
        software = replace(software, rstudio=replace(software.rstudio, isolation=own))
    return software


def _expanded(bind: str, environment: Mapping[str, str]) -> str:
    """With ~ and $NAME of the job; a name that is not set stays, and Apptainer says so."""
    home = environment.get("HOME") or "/"
    text = home + bind[1:] if bind == "~" or bind.startswith(("~/", "~:")) else bind
    for name in sorted(environment, key=len, reverse=True):
        text = text.replace("${" + name + "}", environment[name])
        if f"${name}" in text:
            text = text.replace(f"${name}", environment[name])
    return text


def _gpu_options(setting: str, environment: Mapping[str, str], allocation: Allocation) -> tuple[str, ...]:
    if setting == "auto":
        given = any(node.gpus for node in allocation.nodes)
        setting = ("rocm" if "ROCR_VISIBLE_DEVICES" in environment else "nvidia") if given else "none"
    return _GPU_OPTIONS[setting]

"""Apptainer, or Singularity: runs RStudio Server and R in an image, with a /tmp of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime.container import Container
from ood_runtime.isolation import Isolation, failure

PROGRAMS = ("apptainer", "singularity")
PACKAGE = "apptainer"
REMEDY = "see that rstudio.image is an image with RStudio Server that `apptainer exec` can run here"


def unusable(isolation: Isolation, environment: Mapping[str, str]) -> str:
    """Why it does not work here; empty when it does."""
    if isolation.image is None:
        return "rstudio.image is not set"
    if not isolation.image.exists():
        return f"{isolation.image} (rstudio.image) is not there"
    return failure([*inside(isolation), "true"], environment)


def inside(isolation: Isolation) -> tuple[str, ...]:
    """What to write before a command to run it in the image."""
    return _container(isolation).words()


def prefix(isolation: Isolation, own: Path, kept: Sequence[Path], script: Path) -> tuple[str, ...]:
    """The image, with ``own`` as its /tmp, and ``kept`` where they are on this node."""
    return _container(isolation).words(kept, own)


def _container(isolation: Isolation) -> Container:
    return Container(isolation.program, isolation.image or Path())

"""Fixtures for tests in real containers."""

from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.images import Apptainer


@pytest.fixture(scope="session")
def runtime() -> Apptainer:
    """A real Apptainer."""
    return images.apptainer()


@pytest.fixture(scope="session")
def jupyter_image(runtime: Apptainer) -> Path:
    """The image of singularity/jupyter-spark.def."""
    return images.image(runtime, "jupyter-spark")

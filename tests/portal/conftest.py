"""Fixtures of the tests with a portal: the apps that ``ood-runtime init`` writes, and a place to stage one."""

from pathlib import Path

import pytest

from ood_runtime.portal_app import APPS
from tests.portal.rendering import write_app


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every app as ``init`` writes it."""
    return {app: write_app(tmp_path_factory.mktemp(app), app, modules=("spark/4.0",)) for app in APPS}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A staged directory."""
    path = tmp_path / "staged root"
    path.mkdir(mode=0o700)
    return path

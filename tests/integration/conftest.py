"""Fixtures for tests of the script of workers on other nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import need
from tests.support.remote_workers import Master, Workers


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    """Does not listen yet."""
    master = Master(tmp_path / "master's \nready file")
    yield master
    master.close()


@pytest.fixture(params=["dash", "bash"])
def workers(request: pytest.FixtureRequest, tmp_path: Path, master: Master) -> Iterator[Workers]:
    """Workers in a place with a difficult name, run by one shell after the other."""
    place = tmp_path / "a b'c\nd"
    place.mkdir()
    workers = Workers(place, need(request.param), master)
    yield workers
    workers.end()


@pytest.fixture
def bash_workers(tmp_path: Path, master: Master) -> Iterator[Workers]:
    workers = Workers(tmp_path, need("bash"), master)
    yield workers
    workers.end()

"""The portal and the browser of a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.e2e.browser import open_browser
from tests.e2e.portal import Portal


@pytest.fixture
def portal(short_tmp: Path) -> Iterator[Portal]:
    with Portal(short_tmp / "portal") as running:
        yield running


@pytest.fixture
def browser(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    monkeypatch.setenv("HOME", str(short_tmp))  # Chromium keeps things outside its profile too
    running = open_browser(short_tmp / "profile")
    yield running
    running.quit()

"""Golden files: what is rendered is compared as text with what was reviewed before.

``pytest --update-golden`` writes the files anew; the difference is then read in the commit.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of this name."""
    update = bool(request.config.getoption("--update-golden", default=False))

    def compare(name: str, text: str) -> None:
        path = EXPECTED / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"no {path}; write it with --update-golden"
        assert text == path.read_text(), f"{name} has changed; if that is right: pytest --update-golden"

    return compare

"""Apps as the portal renders them: calls of tests/portal/dashboard.rb, and pages as a browser reads them."""

import json
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ood_runtime.portal_app import Answers, files
from tests.support.needs import missing, need

VERSIONS = ("3.0", "3.1", "4.0", "4.1", "4.2")
DASHBOARD = Path(__file__).parent / "dashboard.rb"
HOSTILE = (
    "'; touch PWNED #",
    '"; touch PWNED; "',
    "$(touch PWNED)",
    "`touch PWNED`",
    "a\ntouch PWNED\n",
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "<%= `touch PWNED` %>",
    "#{`touch PWNED`}",
    "\\",
    "é ☃ \t x",
    "- a: &b [*c, !!python/object:x]",
    "--option",
    "%>",
)
GOOD = {
    "bc_num_hours": "1",
    "bc_email_on_started": "0",
    "nodes": "2",
    "num_cores": "4",
    "memory": "16",
    "workers_per_node": "1",
    "driver_only": "0",
    "sharing": "",
    "working_dir": "",
    "fresh_workspace": "0",
    "extra_modules": "",
    "spark_conf": "",
}
_VOID = ("input", "br", "hr", "img", "meta", "link")


def render(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The portal's answers: ``text``, ``value``, or ``error`` with the message that the user would see."""
    _need_redcarpet()
    done = subprocess.run(
        [need("ruby"), "-W0", DASHBOARD],
        input=json.dumps([{"version": "4.2", **request} for request in requests], default=str),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@cache
def _need_redcarpet() -> None:
    if subprocess.run([need("ruby"), "-e", 'require "redcarpet"'], capture_output=True, check=False).returncode:
        missing("needs the library redcarpet of Ruby")


def write_app(directory: Path, app: str, **answers: Any) -> Path:
    """What ``ood-runtime init`` writes."""
    for file in files(Answers(app=app, cluster="cluster", **answers)):
        path = directory / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
        path.chmod(0o755 if file.executable else 0o644)
    return directory


class Page(HTMLParser):
    """A page's elements, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open} in {text}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def tags(self) -> set[str]:
        """The names of all elements."""
        return {tag for tag, _ in self.elements}

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

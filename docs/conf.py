"""How Sphinx builds these pages: ``sphinx-build -W -n docs OUTPUT``, with the extra ``docs``.

The pages are written for whoever reads them in the repository. What lies above docs/ there, and is linked to, has a
page in project/ here.
"""

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

project = "ood-runtime"
author = "The ood-runtime developers"
project_copyright = author
release = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser"]
myst_heading_anchors = 4  # the same anchors as a code host makes
highlight_language = "text"  # blocks that do not say what they are
html_theme = "furo"
html_title = f"ood-runtime {release}"
html_copy_source = False
html_show_sphinx = False

# As written in the pages of docs/ : as it is in the built ones.
_ABOVE = {
    r"\]\(\.\./([A-Z]+)\.md": r"](project/\1.md",
    r"\]\(\.\./examples/(jobs|portal)\)": r"](project/examples.md#\1)",
}
# As written above docs/, whose files project/ includes.
_FROM_ABOVE = {r"\]\(docs/": "](../"}


def _lead_to_pages(_app: Sphinx, _page: str, source: list[str]) -> None:
    for written, built in _ABOVE.items():
        source[0] = re.sub(written, built, source[0])


def _lead_from_project(_app: Sphinx, _file: Path, _page: str, source: list[str]) -> None:
    for written, built in _FROM_ABOVE.items():
        source[0] = re.sub(written, built, source[0])


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("source-read", _lead_to_pages)
    app.connect("include-read", _lead_from_project)

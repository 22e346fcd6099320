"""The only place that writes the table of settings in docs/reference.md, from what the settings say of themselves.

``python tools/reference.py`` brings the page up to date; tests/unit/test_docs.py tells when it is not.
"""

from pathlib import Path

from ood_runtime.settings import explain, load
from ood_runtime.settings.layers import Loaded, keys
from ood_runtime.settings.model import Settings

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
BEGIN = "<!-- begin of what tools/reference.py writes -->"
END = "<!-- end of what tools/reference.py writes -->"


def settings_table() -> str:
    """One line of a Markdown table for each setting: key, type, built-in value and meaning."""
    loaded = load((), (), {"OOD_RUNTIME_SITE_CONFIG": "/dev/null"})
    lines = ["| Setting | What it may be | Built in | What it means |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(_row(key, loaded) for key in keys(Settings))])


def up_to_date(page: str) -> str:
    """The text of the page with the table as it should be now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{settings_table()}\n{END}{after}"


def _row(key: str, loaded: Loaded) -> str:
    _, meaning, *facts = explain.explain(key, loaded).splitlines()
    named = dict(fact.strip().split(":", 1) for fact in facts)
    built_in = named["built in"].strip()
    cells = [f"`{key}`", named["type"].strip(), built_in if built_in == "(not set)" else f"`{built_in}`", meaning]
    return "| " + " | ".join(cell.strip().replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")

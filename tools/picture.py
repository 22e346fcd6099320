"""The only place that draws docs/images/status.svg: what ``ood-runtime status --watch`` shows of a real session.

``python tools/picture.py SESSION_DIRECTORY [OUTPUT]`` runs the command on a terminal of its own, waits for a
whole table, and turns its colours into a picture of a terminal window.
"""

import html
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "docs" / "images" / "status.svg"
COLUMN, LINE, MARGIN, TITLE = 8.43, 20, 18, 34  # pixels
CLEAR = "\x1b[2J\x1b[1;1H"
_STYLE = re.compile(r"\x1b\[([\d;]*)m")
_COLOURS = {"31": "#ff7b72", "32": "#56d364", "33": "#e3b341"}
_PAGE = """<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}"
 role="img" aria-label="{label}">
<rect width="100%" height="100%" rx="8" fill="#161b22"/>
<circle cx="20" cy="17" r="6" fill="#ff5f57"/><circle cx="40" cy="17" r="6" fill="#febc2e"/>
<circle cx="60" cy="17" r="6" fill="#28c840"/>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14" fill="#e6edf3">
{text}
</g>
</svg>
"""


def capture(session: Path) -> str:
    """One whole table with its colours: what stands between two clearings of the screen."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "ood_runtime", "status", "--watch", "--session-dir", str(session)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as watching:
        os.close(theirs)
        shown = b""
        try:
            while shown.count(CLEAR.encode()) < 2:  # a session that has ended shows one table only
                shown += os.read(ours, 65536)
        except OSError:
            pass  # the command has ended
        finally:
            watching.terminate()
            os.close(ours)
    return shown.decode().replace("\r", "").split(CLEAR)[1]


def draw(screen: str, title: str) -> str:
    """The picture of a terminal that shows ``screen``, below the command line ``title``."""
    lines = [f"$ {title}", "", *screen.rstrip("\n").split("\n")]
    rows = [_row(line, TITLE + MARGIN + LINE * number) for number, line in enumerate(lines)]
    longest = max(len(_STYLE.sub("", line)) for line in lines)
    return _PAGE.format(
        width=2 * MARGIN + COLUMN * longest,
        height=TITLE + MARGIN + LINE * len(lines),
        label=html.escape(title, quote=True),
        text="\n".join(filter(None, rows)),
    )


def _row(line: str, y: int) -> str:
    """One line; every stretch of one style has its own place, so that columns hold in any font."""
    column, style, texts = 0, "", []
    for part in re.split(r"(\x1b\[[\d;]*m)", line):
        match = _STYLE.fullmatch(part)
        if match:
            style = _attributes(match[1].split(";"), style)
            continue
        for stretch in re.finditer(r"\S+(?: \S+)*", part):
            x, width = MARGIN + COLUMN * (column + stretch.start()), COLUMN * len(stretch[0])
            texts.append(
                f'<text x="{x:.1f}" y="{y}" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"{style}>'
                f"{html.escape(stretch[0])}</text>"
            )
        column += len(part)
    return "".join(texts)


def _attributes(codes: list[str], before: str) -> str:
    """SVG attributes for the codes of an SGR sequence (ECMA-48) that click uses."""
    style = before
    for code in codes:
        if code in ("", "0"):
            style = ""
        elif code == "1":
            style += ' font-weight="bold"'
        elif code == "2":
            style += ' fill-opacity="0.55"'
        elif code in _COLOURS:
            style += f' fill="{_COLOURS[code]}"'
    return style


if __name__ == "__main__":
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else OUTPUT
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(draw(capture(Path(sys.argv[1])), "ood-runtime status --watch"), "utf-8")

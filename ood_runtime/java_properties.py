"""Reading a Java properties file, such as a site's spark-defaults.conf (java.util.Properties.load)."""

import re

_ENTRY = re.compile(r"((?:\\.|[^\\\s=:])*)\s*[=:]?\s*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}


def read(text: str) -> dict[str, str]:
    """The entries of ``text``."""
    entries = {}
    for line in _logical_lines(text):
        match = _ENTRY.fullmatch(line)
        if match and match[1]:
            entries[_unescape(match[1])] = _unescape(match[2].rstrip())
    return entries


def _logical_lines(text: str) -> list[str]:
    """Lines without comments; one that ends in an odd number of backslashes goes on in the next."""
    lines: list[str] = []
    going_on = False
    for natural in text.splitlines():
        line = natural.lstrip()
        if not going_on and (not line or line[0] in "#!"):
            continue
        lines.append(lines.pop() + line if going_on else line)
        backslashes = len(lines[-1]) - len(lines[-1].rstrip("\\"))
        going_on = backslashes % 2 == 1
        if going_on:
            lines[-1] = lines[-1][:-1]
    return lines


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _NAMED.get(code, code)

    return _ESCAPE.sub(plain, text)

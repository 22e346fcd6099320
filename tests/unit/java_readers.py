"""Readers of the two kinds of files that Java reads, after their descriptions; one test proves them by Java's own."""

import re


def java_arguments(text: str) -> list[str]:
    """A reader of argument files, as java(1) describes them and the launcher's args.c does it."""
    words: list[str] = []
    word: str | None = None
    quote = escaped = ""
    i = 0
    while i < len(text):
        char = text[i]
        i += 1
        if quote:
            if char == "\\":
                escaped = text[i]
                i += 1
                char = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}.get(escaped, escaped)
            elif char == quote:
                quote = ""
                continue
            assert char not in "\n\r" or text[i - 2] == "\\" or escaped in "nr", "a line end in quotes"
            word = (word or "") + char
        elif char in "\"'":
            quote, word, escaped = char, word or "", ""
        elif char in " \t\n\r\f":
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + char
    assert not quote, "a quote is left open"
    return words if word is None else [*words, word]


def java_properties(text: str) -> dict[str, str]:
    """A reader of what java.util.Properties.load describes, for logical lines without continuation."""
    entries = {}
    for line in text.split("\n"):
        stripped = line.lstrip(" \t\f")
        if stripped and stripped[0] not in "#!":
            match = re.match(r"((?:\\.|[^\\ \t\f=:])*)[ \t\f]*[=:]?[ \t\f]*(.*)$", stripped, re.DOTALL)
            assert match
            assert not re.search(r"(?<!\\)(\\\\)*\\$", line), "a line that goes on in the next one"
            entries[_unescape(match[1])] = _unescape(match[2])
    return entries


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}.get(match[2], match[2])

    plain = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", one, text, flags=re.DOTALL)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16")

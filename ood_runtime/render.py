"""The only way to make a script or a configuration file: a template, and a filter for each language.

Templates are strict: an unknown name is an error. Every value goes through the filter of the
language that it lands in; secrets also through ``reveal``, so that a search for that word lists every
place where a secret is written to disk.
"""

import json
import shlex
from collections.abc import Mapping

import jinja2
import yaml as pyyaml

from ood_runtime.secret import Secret


def render(template: str, **values: object) -> str:
    """Render ``ood_runtime/scripts/TEMPLATE`` with ``values``."""
    return _environment().get_template(template).render(**values)


def sh(value: object) -> str:
    """Quote for a POSIX shell."""
    return shlex.quote(str(value))


def py(value: object) -> str:
    """Quote as a Python literal."""
    if isinstance(value, str | int | float | bool | None | list | tuple | dict):
        return repr(value)
    return repr(str(value))


def rb(value: object) -> str:
    """Quote as a Ruby string, in the code of an ERB template: there %> would end the code."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'").replace("%>", "%%>") + "'"


def erb(value: object) -> str:
    """Quote for the text of an ERB template, outside of its code."""
    return str(value).replace("<%", "<%%")


def properties(value: object) -> str:
    r"""Quote the value of a Java properties file (``java.util.Properties.load``).

    A leading blank, a backslash and line ends are escaped; what is not Latin-1 becomes ``\uXXXX``.
    """
    escapes = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
    text = "".join(escapes.get(char) or _latin(char) for char in str(value))
    return "\\" + text if text.startswith(" ") else text


def properties_key(value: object) -> str:
    """Quote the key of a Java properties file."""
    text = properties(f".{value}")[1:]  # a blank is escaped once, wherever it stands
    return "".join("\\" + char if char in " :=#!" else char for char in text)


def java_argument(value: object) -> str:
    """Quote for a file of arguments that ``java @FILE`` reads (java(1), "argument files")."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n").replace("\r", "\\r") + '"'


def r(value: object) -> str:
    """Quote as a string of R, byte for byte: what R makes of ``\\u`` depends on the locale."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(escapes.get(char, char) for char in str(value)) + '"'


def yaml(value: object) -> str:
    """Quote as a scalar of YAML: a number, true or false, or else a string."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    return pyyaml.safe_dump(str(value), default_style='"', allow_unicode=True, width=float("inf")).removesuffix("\n")


def conf(value: object) -> str:
    """Pass on a value for a file of options of RStudio, which has no quoting. Raises ValueError if it would change."""
    text = str(value)
    if text != text.strip() or any(char in text for char in "#\r\n"):
        raise ValueError(f"{text!r} cannot stand in a file of options")
    return text


def reveal(value: Secret) -> str:
    """The text of a secret."""
    return value.reveal()


def properties_file(entries: Mapping[str, str]) -> str:
    """The text of a Java properties file with ``entries``, sorted."""
    return "".join(f"{properties_key(k)}={properties(v)}\n" for k, v in sorted(entries.items()))


def _latin(char: str) -> str:
    if " " <= char <= "~":
        return char
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ood_runtime", "scripts"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  (no HTML here: each language has its own filter)
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        sh=sh, py=py, r=r, yaml=yaml, rb=rb, erb=erb, java_argument=java_argument, conf=conf, reveal=reveal
    )
    return environment

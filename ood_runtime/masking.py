"""Showing what is generated without showing what is secret in it."""

import re
import shlex
from collections.abc import Iterable, Sequence

from ood_runtime.secret import MASK, Secret

# What gives away that a setting is secret; Spark's own spark.redaction.regex is like it.
SECRET_NAME = re.compile(r"secret|password|token|access[._]?key|credential", re.IGNORECASE)
_ENTRY = re.compile(r"(?m)^([^\s=]+)=.*$")
_EXPORT = re.compile(r"""(?m)\bexport ([^\s=]+)=(?:'[^']*'|"[^"]*"|[^\s'"])*""")  # a value may have several lines
_BEARER = re.compile(r"\bBearer [\w.~+/=-]+")  # made of a secret
_HASH = re.compile(r"argon2:\$argon2[^'\"\s]*")


def mask(content: str | bytes, secrets: Iterable[Secret]) -> str:
    """``content`` as text, with every secret, and what is made of one, masked; binary content is only described."""
    if isinstance(content, bytes):
        try:
            content = content.decode()
        except UnicodeDecodeError:
            return f"({len(content)} bytes)"
    for value in secrets:
        content = content.replace(value.reveal(), MASK)
    content = _ENTRY.sub(lambda entry: f"{entry[1]}={MASK}" if SECRET_NAME.search(entry[1]) else entry[0], content)
    content = _EXPORT.sub(
        lambda entry: f"export {entry[1]}={MASK}" if SECRET_NAME.search(entry[1]) else entry[0], content
    )
    return _BEARER.sub(f"Bearer {MASK}", _HASH.sub(f"argon2:{MASK}", content))


def shell(argv: Sequence[str]) -> str:
    """``argv`` as a line that a shell would read back."""
    return shlex.join(argv)

"""Showing what is generated without showing what is secret in it."""

import re
import shlex
from collections.abc import Iterable, Sequence

from ood_runtime.secret import MASK, Secret

_HASH = re.compile(r"argon2:\$argon2[^'\"\s]*")


def mask(content: str | bytes, secrets: Iterable[Secret]) -> str:
    """``content`` as text, with every secret and every password hash masked; binary content is only described."""
    if isinstance(content, bytes):
        try:
            content = content.decode()
        except UnicodeDecodeError:
            return f"({len(content)} bytes)"
    for value in secrets:
        content = content.replace(value.reveal(), MASK)
    return _HASH.sub(f"argon2:{MASK}", content)


def shell(argv: Sequence[str]) -> str:
    """``argv`` as a line that a shell would read back."""
    return shlex.join(argv)

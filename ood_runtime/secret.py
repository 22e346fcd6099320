"""Secrets: how they are made, and how they stay out of sight."""

import secrets
import string

LETTERS_AND_DIGITS = string.ascii_letters + string.digits
# A value that starts with g to z is a string for every YAML reader: never an octal or
# hexadecimal number, a date, a boolean or an exponent. The portal reads connection.yml with Psych.
SAFE_FIRST = "ghijklmnopqrstuvwxyz"
MASK = "********"


class Secret:
    """A string that shows itself only on ``reveal``: not in a repr, a log line or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Search for this name to find each place where a secret is used."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


def password(length: int = 32) -> Secret:
    """A password of ``length`` characters that survives YAML, shells, forms and URLs (190 bits)."""
    rest = (secrets.choice(LETTERS_AND_DIGITS) for _ in range(length - 1))
    return Secret(secrets.choice(SAFE_FIRST) + "".join(rest))


def key(bits: int = 256) -> Secret:
    """A random key of ``bits`` bits in URL-safe Base64 without padding."""
    return Secret(secrets.token_urlsafe(bits // 8))


def hexadecimal(digits: int = 32) -> Secret:
    """A random string of ``digits`` hexadecimal digits."""
    return Secret(secrets.token_hex(digits // 2))

"""connection.yml: what the portal reads, there only while it is true.

Its existence tells the portal that the session is ready, so it is written last and removed first. Every
string is quoted: the portal's reader takes a bare 01234567 for an octal number, and stops with an error at
some words.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ood_runtime.errors import SessionError
from ood_runtime.private_files import write
from ood_runtime.secret import Secret
from ood_runtime.session import CONNECTION


def publish(directory: Path, connection: Mapping[str, str | int | Secret]) -> None:
    """Write connection.yml, whole or not at all, readable by its owner only.

    Raises SessionError when it cannot be written: then nobody could reach the session.
    """
    try:
        write(directory / CONNECTION, text(connection), 0o600, durable=True)
    except OSError as error:
        raise SessionError(
            f"cannot write {directory / CONNECTION}: {error.strerror}",
            remedy="see that the directory has room (`df`, `quota`)",
        ) from error


def withdraw(directory: Path) -> None:
    """Remove connection.yml: what it says is about to be untrue."""
    with suppress(OSError):  # gone already, or in a directory that was taken away from us
        (directory / CONNECTION).unlink()


def text(connection: Mapping[str, str | int | Secret]) -> str:
    """The text of connection.yml."""
    plain = {key: value.reveal() if isinstance(value, Secret) else value for key, value in connection.items()}
    return "".join(f"{key}: {_quote(value)}\n" for key, value in plain.items())


def _quote(value: str | int) -> str:
    """A double-quoted YAML scalar, in ASCII; numbers as they are."""
    if isinstance(value, int):
        return str(value)
    plain = (char if " " <= char <= "~" and char not in '"\\' else f"\\U{ord(char):08x}" for char in value)
    return '"' + "".join(plain) + '"'

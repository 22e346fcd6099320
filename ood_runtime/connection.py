"""connection.yml: what the portal reads, there only while it is true.

Its existence tells the portal that the session is ready, so it is written last and removed first. Every
string is quoted: the portal's reader takes a bare 01234567 for an octal number, and stops with an error at
some words.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ood_runtime import published, session
from ood_runtime.errors import NotReadyError, SessionError
from ood_runtime.private_files import write
from ood_runtime.secret import Secret
from ood_runtime.session import CONNECTION, PRIVATE


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
    """Remove connection.yml and its copies: what they say is about to be untrue."""
    with suppress(OSError):  # gone already, or in a directory that was taken away from us
        (directory / CONNECTION).unlink()
    published.withdraw(directory / PRIVATE)


def read(directory: Path) -> str | None:
    """The text of connection.yml; None when there is none."""
    try:
        return (directory / CONNECTION).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def copy(directory: Path, content: str, path: Path) -> None:
    """Write ``content``, the connection of the session in ``directory``, to ``path``, whole or not at all.

    The copy goes with the session. Raises SessionError when it cannot be written, NotReadyError when the session
    ended meanwhile.
    """
    if path.name == CONNECTION and path.parent.absolute().resolve() == directory.resolve():
        return  # it is there
    try:
        # First the note: what is noted and was never written does no harm, the reverse would.
        published.note(directory / PRIVATE, path, content)
        write(path, content, 0o600, durable=True)
    except OSError as error:
        raise SessionError(
            f"cannot write {path}: {error.strerror}",
            remedy="see that its directory exists, is yours and has room (`df`, `quota`)",
        ) from error
    if not session.running(directory):
        published.withdraw(directory / PRIVATE)
        raise NotReadyError("the session has ended", remedy="`ood-runtime status` says why")


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

"""Everything that can end a session before its time, with the exit status that it gives.

OodRuntimeError
├── SettingsError       2  a setting, a flag or an argument is wrong
├── MissingError        3  something that the session needs is not on this node
├── NotReadyError       4  a service did not become ready in time
├── ServiceDiedError    5  a service that the session cannot live without ended
└── SessionError        2  the session directory cannot be used as asked
"""

from collections.abc import Callable, Sequence


class OodRuntimeError(Exception):
    """A failure that a person can act on.

    ``remedy`` says what to do about it, ``log`` names the file that shows more.
    """

    exit_status = 1

    def __init__(self, what: str, *, remedy: str = "", log: str = "") -> None:
        super().__init__(what, remedy, log)
        self.what = what
        self.remedy = remedy
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.remedy, self.log)

    def __str__(self) -> str:
        return self.what


class SettingsError(OodRuntimeError):
    """One or more settings are wrong; ``what`` has one line for each."""

    exit_status = 2


class SessionError(OodRuntimeError):
    """The session directory cannot be used, or holds no session."""

    exit_status = 2


class MissingError(OodRuntimeError):
    """A program or library that the session needs is not on this node."""

    exit_status = 3


class NotReadyError(OodRuntimeError):
    """A service did not become ready in time."""

    exit_status = 4


class ServiceDiedError(OodRuntimeError):
    """A service that the session cannot live without ended."""

    exit_status = 5


def collect(errors: Sequence[OodRuntimeError]) -> OodRuntimeError:
    """One error that tells all of ``errors``, so that nobody mends them one at a time.

    The first error's kind gives the exit status.
    """
    if len(errors) == 1:
        return errors[0]
    lines = [error.what + (f"\n    {error.remedy}" if error.remedy else "") for error in errors]
    return type(errors[0])("\n".join(lines))


def find_all(*finders: Callable[[], None]) -> None:
    """Call all ``finders``, and raise one error with everything that is missing."""
    errors = []
    for finder in finders:
        try:
            finder()
        except OodRuntimeError as error:
            errors.append(error)
    if errors:
        raise collect(errors)


def _rebuild(kind: type[OodRuntimeError], what: str, remedy: str, log: str) -> OodRuntimeError:
    return kind(what, remedy=remedy, log=log)

"""unshare and mount of util-linux: a mount namespace in a user namespace that keeps the user's number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime.isolation import Isolation, failure
from ood_runtime.render import render

PROGRAMS = ("unshare",)
PACKAGE = "util-linux"
REMEDY = (
    "allow user namespaces (sysctl user.max_user_namespaces) and use util-linux 2.36 or newer, "
    "or set rstudio.isolation to another one"
)
# Without --keep-caps mount(8) finds itself without rights: a user that is not root loses them when a program starts.
_NAMESPACE = ("--user", "--map-current-user", "--keep-caps", "--mount")


def unusable(isolation: Isolation, environment: Mapping[str, str]) -> str:
    """Why it does not work here; empty when it does."""
    return failure([str(isolation.program), *_NAMESPACE, "mount", "--bind", "/tmp", "/tmp"], environment)  # noqa: S108


def prefix(isolation: Isolation, own: Path, kept: Sequence[Path], script: Path) -> tuple[str, ...]:
    """The namespace, in which ``script`` mounts and then becomes the program."""
    return (str(isolation.program), *_NAMESPACE, "--", str(script))


def script_text(own: Path, kept: Sequence[Path]) -> str:
    """The script that mounts ``own`` over /tmp, with ``kept`` in it."""
    return render("own_tmp.sh.j2", own=str(own), kept=[str(path) for path in kept])

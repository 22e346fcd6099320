"""bubblewrap: makes a mount namespace, without rights where the kernel allows user namespaces, or setuid."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime.isolation import Isolation, failure

PROGRAMS = ("bwrap",)
PACKAGE = "bubblewrap"
REMEDY = "allow user namespaces (sysctl user.max_user_namespaces), or set rstudio.isolation to another one"


def unusable(isolation: Isolation, environment: Mapping[str, str]) -> str:
    """Why it does not work here; empty when it does."""
    return failure([str(isolation.program), "--dev-bind", "/", "/", "--tmpfs", "/tmp", "true"], environment)  # noqa: S108


def prefix(isolation: Isolation, own: Path, kept: Sequence[Path], script: Path) -> tuple[str, ...]:
    """All of the node as it is, ``own`` over /tmp, and ``kept`` over that."""
    words = [str(isolation.program), "--die-with-parent", "--dev-bind", "/", "/", "--bind", str(own), "/tmp"]  # noqa: S108
    for path in kept:
        words += ["--bind-try", str(path), str(path)]
    return (*words, "--")

"""What is known of rserver's options: which a release has, what that says of it, and which a session gives it.

Releases differ, and an unknown option ends rserver: only those that its own ``--help`` lists are given.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

# Without these it could not be closed to others.
REQUIRED = ("auth-none", "auth-pam-helper-path", "rsession-path", "www-address", "www-port")
# Where releases that cannot be told otherwise keep sockets and keys.
FIXED_PLACES = tuple(Path("/tmp") / name for name in ("rstudio-rsession", "rstudio-rserver", "rstudio-server"))  # noqa: S108
# The first release with an option, the newest first (ServerOptions.hpp and server-options.json at each tag).
_FIRST = {
    "www-proxy-localhost-verify-port-owner": "2026.08",
    "check-config": "2026.07",
    "www-socket": "2024.12",
    "db-connection-timeout": "2022.12",
    "session-use-file-storage": "2022.07",
    "www-root-path": "1.4",
    "server-data-dir": "1.3",
    "secure-cookie-key-file": "1.2",
    "www-frame-origin": "1.0",
}


def listed(text: str) -> frozenset[str]:
    """The options in what ``rserver --help`` prints."""
    return frozenset(re.findall(r"(?m)^\s+--([a-z][a-z0-9\-]+)", text))


def release(options: Collection[str]) -> str:
    """The releases that have these options, in words."""
    newer = ""
    for option, first in _FIRST.items():
        if option in options:
            return f"{first} or newer" + (f", older than {newer}" if newer else "")
        newer = first
    return f"older than {newer}"


def why_own_tmp(options: Collection[str]) -> str:
    """What the release keeps at a fixed place in /tmp; empty when it can be told to keep it elsewhere."""
    if "server-data-dir" not in options or "secure-cookie-key-file" not in options:
        return "sockets in /tmp/rstudio-rsession and /tmp/rstudio-rserver"
    if "session-use-file-storage" in options and "db-connection-timeout" not in options:
        return "a key in /tmp/rstudio-server"
    return ""


def arguments(wanted: Mapping[str, object], options: Collection[str]) -> tuple[str, ...]:
    """The arguments for those of ``wanted`` that there are; None is left to rserver."""
    return tuple(f"--{name}={value}" for name, value in wanted.items() if name in options and value is not None)

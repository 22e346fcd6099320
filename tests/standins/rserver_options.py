"""What the stand-in for rserver knows of RStudio's releases: the options of each, its command line, its ``--help``.

The first release with an option is from ServerOptions at each tag. A release is a tuple: (1, 4, 1103), (2022, 7, 0).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

Release = tuple[int, ...]
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# The options: first release, kind (a value's default, or a bool), what --help says.
_OPTIONS: Mapping[str, tuple[Release, str | bool, str]] = {
    "verify-installation": ((0,), False, "verify the current installation"),
    "server-working-dir": ((0,), "/", "program working directory"),
    "server-user": ((0,), "rstudio-server", "program user"),
    "server-daemonize": ((0,), False, "run program as daemon"),
    "server-app-armor-enabled": ((0,), False, "is app armor enabled for this session"),
    "server-set-umask": ((0, 99), True, "set the umask to 022 on startup"),
    "secure-cookie-key-file": ((1, 2), "", "path override for secure cookie key"),
    "server-pid-file": ((1, 2), "/var/run/rstudio-server.pid", "location of pid file"),
    "server-data-dir": ((1, 3), "/var/run/rstudio-server", "path to data directory where rserver stores its state"),
    "server-add-header": ((1, 3), "", "adds a header to all responses"),
    "www-address": ((0,), "0.0.0.0", "server address"),
    "www-port": ((0,), "", "port to listen on"),
    "www-socket": ((2024, 12), "", "socket to listen on"),
    "www-url-path-prefix": ((1, 3), "/", "path prefix of a proxy"),
    "www-root-path": ((1, 4), "/", "path prefix added by a proxy to the incoming RStudio URL"),
    "www-local-path": ((0,), "www", "www files path"),
    "www-thread-pool-size": ((0,), "2", "thread pool size"),
    "www-proxy-localhost": ((0,), True, "proxy requests to localhost ports over main server port"),
    "www-proxy-localhost-verify-port-owner": ((2026, 8), True, "only to ports of the same user"),
    "www-verify-user-agent": ((0, 99), True, "verify that the user agent is compatible"),
    "www-same-site": ((1, 4), "", "same site policy of cookies"),
    "www-frame-origin": ((1, 0), "none", "allowed origin for hosting frame"),
    "www-enable-origin-check": ((1, 3), False, "check the origin of requests"),
    "www-allow-origin": ((1, 3), "", "allows requests from this origin"),
    "session-use-file-storage": ((2022, 7), True, "keep the metadata of sessions in files"),
    "rsession-which-r": ((0,), "", "path to main R program (e.g. /usr/bin/R)"),
    "rsession-path": ((0,), "rsession", "path to rsession executable"),
    "rldpath-path": ((0,), "r-ldpath", "path to r-ldpath script"),
    "rsession-ld-library-path": ((0,), "", "default LD_LIBRARY_PATH for rsession"),
    "rsession-config-file": ((0,), "", "path to rsession config file"),
    "rsession-proxy-max-wait-secs": ((1, 2), "30", "max time to wait when proxying requests to rsession"),
    "database-config-file": ((1, 4), "", "path to the database configuration"),
    "db-command": ((1, 4), "", "executes this shell command with the database configuration"),
    "db-connection-timeout": ((2022, 12), "15", "seconds to wait for a connection to the database"),
    "auth-none": ((0,), True, "don't do any authentication"),
    "auth-validate-users": ((0,), False, "validate that authenticated users exist on the target system"),
    "auth-stay-signed-in-days": ((0, 99), "30", "number of days for the 'stay signed in' option"),
    "auth-timeout-minutes": ((1, 3), "60", "minutes to stay logged in while idle"),
    "auth-encrypt-password": ((0,), True, "encrypt password sent from login form"),
    "auth-login-page-html": ((1, 0), "/etc/rstudio/login.html", "path to file containing additional HTML"),
    "auth-required-user-group": ((0,), "", "limit to users belonging to the specified group"),
    "auth-minimum-user-id": ((0, 99), "auto", "limit to users with a certain minimum user id"),
    "auth-pam-helper-path": ((0,), "rserver-pam", "path to PAM helper binary"),
    "auth-pam-require-password-prompt": ((1, 3), True, "whether to require the Password: prompt"),
    "auth-pam-requires-priv": ((0,), True, "deprecated: will always be true"),
    "auth-sign-in-throttle-seconds": ((1, 3), "5", "minimum time to wait before signing in again"),
    "auth-revocation-list-dir": ((1, 3), "", "path to the directory with the revocation list"),
    "auth-cookies-force-secure": ((1, 3), False, "should auth cookies be marked secure"),
    "monitor-interval-seconds": ((0,), "300", "monitoring interval"),
}
_GROUPS = ("verify", "server", "www", "session", "rsession", "database", "auth", "monitor")


class RefusedError(Exception):
    """rserver ends at once; the reason goes to its log."""


@dataclass(frozen=True)
class Options:
    """What was asked of an rserver of this ``release``, which is installed in ``bin``."""

    release: Release
    bin: Path
    values: Mapping[str, str | bool]

    def text(self, name: str) -> str:
        """The value of an option; its default, where this release has none of that name."""
        return str(self.values.get(name, _OPTIONS[name][1]))

    def number(self, name: str) -> int:
        """The value of an option that is a number."""
        return int(self.text(name))

    def on(self, name: str) -> bool:
        """The value of an option that is a bool."""
        return bool(self.values.get(name, _OPTIONS[name][1]))

    def program(self, name: str) -> Path:
        """A path that is relative to where rserver is installed."""
        return self.bin / self.text(name)

    def since(self, *release: int) -> bool:
        """Whether this is that release, or a newer one."""
        return self.release >= release


def known(release: Release) -> dict[str, str | bool]:
    """The options of a release, with their defaults for who is not root."""
    found = {name: default for name, (first, default, _) in _OPTIONS.items() if release >= first}
    if release[:2] != (1, 3):
        found.pop("www-url-path-prefix", None)
    return found


def help_text(release: Release) -> str:
    """What ``rserver --help`` prints, as boost::program_options lays it out."""
    lines = ["command-line options:", "", "general:", "  --help                                print help message"]
    lines += ["  --test-config                         test to ensure the config file is valid"]
    if release >= (2026, 7):
        lines.append("  --check-config                        check the configuration")
    lines.append("  --config-file arg                     configuration file")
    options = known(release)
    for group in _GROUPS:
        names = [name for name in options if name.startswith(f"{'db' if group == 'database' else group}-")]
        more = {"server": "secure-cookie-", "rsession": "rldpath-", "database": "database-"}.get(group, " ")
        names += [name for name in options if name.startswith(more)]
        lines += ["", f"{group}:"] if names else []
        for name in names:
            value = options[name]
            shown = f"  --{name} arg (={int(value) if isinstance(value, bool) else value})"
            lines += [shown, " " * 40 + _OPTIONS[name][2]] if len(shown) > 38 else [f"{shown:<40}{_OPTIONS[name][2]}"]
    return "\n".join(lines) + "\n\n"


def parse(arguments: Sequence[str], release: Release, programs: Path) -> Options:
    """The command line, over the file rserver.conf; raises RefusedError as boost::program_options does."""
    values = dict(known(release))
    values |= _typed(_configuration(release), values)
    given: list[tuple[str, str]] = []
    words = list(arguments)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            raise RefusedError("too many positional options have been specified on the command line")
        if not equals:
            if not words or name.removeprefix("--") not in values:
                _refuse_unknown(name)
            value = words.pop(0)
        given.append((name.removeprefix("--"), value))
    values |= _typed(given, values)
    return Options(release, programs, values)


def configuration_directory(release: Release) -> Path:
    """Where rserver looks for its files."""
    own = os.environ.get("RSTUDIO_CONFIG_DIR") if release >= (1, 4) else None
    return Path(own or "/etc/rstudio")


def _configuration(release: Release) -> list[tuple[str, str]]:
    path = configuration_directory(release) / "rserver.conf"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [line.partition("#")[0].partition("=") for line in lines]
    return [(name.strip(), value.strip()) for name, equals, value in pairs if equals]


def _typed(pairs: Sequence[tuple[str, str]], options: Mapping[str, str | bool]) -> dict[str, str | bool]:
    typed: dict[str, str | bool] = {}
    for name, value in pairs:
        if name not in options:
            _refuse_unknown(f"--{name}")
        if not isinstance(options[name], bool):
            typed[name] = value
        elif value.lower() in (*_TRUE, *_FALSE):
            typed[name] = value.lower() in _TRUE
        else:
            raise RefusedError(f"the argument ('{value}') for option '--{name}' is invalid")
    return typed


def _refuse_unknown(name: str) -> NoReturn:
    raise RefusedError(f"unrecognised option '{name}'")

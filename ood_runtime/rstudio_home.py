"""The only place that finds RStudio Server: rserver, its rsession, and what this release of it can do."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import isolation, r_home, rserver_options
from ood_runtime.errors import MissingError, SettingsError, find_all
from ood_runtime.isolation import Isolation, apptainer
from ood_runtime.r_home import R
from ood_runtime.settings.rstudio import RStudio as RStudioSettings

# Where its packages install it, and where it is put without root's rights (the package unpacked below /opt).
PLACES = tuple(
    Path(place)
    for place in (
        "/usr/lib/rstudio-server/bin",
        "/usr/local/lib/rstudio-server/bin",
        "/opt/rstudio-server/bin",
        "/opt/usr/lib/rstudio-server/bin",
        "/usr/lib/rstudio/bin",
    )
)
_REMEDY = (
    "load a module of RStudio Server, install it (https://posit.co/download/rstudio-server), or unpack its package "
    "anywhere (`dpkg -x`, or `rpm2cpio | cpio -id`) and set rstudio.command; or set rstudio.image to an image with it"
)
_SECONDS = 60  # a first start from a network file system


@dataclass(frozen=True)
class RServer:
    """An rserver, and its own ``options``; ``version`` is empty when it does not tell it."""

    path: Path
    rsession: Path
    options: frozenset[str]
    version: str = ""


@dataclass(frozen=True)
class RStudio:
    """All that a session of RStudio runs. ``r`` is None in an image, which has its own; ``user`` is who may sign in."""

    rserver: RServer
    r: R | None
    isolation: Isolation | None
    user: str


def find(settings: RStudioSettings, environment: Mapping[str, str]) -> RStudio:
    """Find what the settings name, or else what is there. Raises MissingError with all that is wrong."""
    servers: list[RServer] = []
    isolations: list[Isolation | None] = []
    rs: list[R | None] = []
    users: list[str] = []

    def server_and_isolation() -> None:
        if settings.image:
            isolations.append(isolation.find("apptainer", environment, settings.image))
        servers.append(find_rserver(settings, environment, next(iter(isolations), None)))
        if not settings.image:
            isolations.append(find_isolation(settings, environment, servers[0]))

    find_all(
        lambda: rs.append(None if settings.image else r_home.find(settings.r, environment)),
        server_and_isolation,
        lambda: users.append(user_name()),
    )
    return RStudio(servers[0], rs[0], isolations[0], users[0])


def find_rserver(settings: RStudioSettings, environment: Mapping[str, str], image: Isolation | None = None) -> RServer:
    """The rserver of the settings, on this node or in an ``image``."""
    if image:
        return _in_image(settings, environment, image)
    path = _rserver(settings.command, environment)
    options = _options([str(path)], environment)
    _check(path, options, settings)
    return RServer(path, _rsession(path, settings.rsession), options, _version(path))


def find_isolation(settings: RStudioSettings, environment: Mapping[str, str], server: RServer) -> Isolation | None:
    """What gives this rserver a /tmp of its own; None when it needs none, or the settings say so."""
    kept = rserver_options.why_own_tmp(server.options)
    if settings.isolation == "none" and kept:
        _check_fixed_places(server)
    if settings.isolation == "none" or (settings.isolation == "auto" and not kept):
        return None
    if settings.isolation != "auto":
        return isolation.find(settings.isolation, environment)
    try:
        return isolation.first(environment)
    except MissingError as error:
        raise MissingError(
            f"{server.path} ({rserver_options.release(server.options)}) keeps {kept}; {error.what}",
            remedy=f"{error.remedy}; or use RStudio Server 1.4, or 2022.12 or newer, which need none",
        ) from error


def user_name() -> str:
    """Who we are. Raises MissingError when the system does not know: rserver would not start."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise MissingError(
            f"user {os.getuid()} has no name here (`getent passwd {os.getuid()}`), and RStudio Server needs one",
            remedy="in a container, let it have the user's line of /etc/passwd",
        ) from None


def _check_fixed_places(server: RServer) -> None:
    for path in rserver_options.FIXED_PLACES:
        with suppress(FileNotFoundError):
            if path.lstat().st_uid != os.getuid() or path.is_symlink():
                raise MissingError(
                    f"{path} is not yours, and {server.path} would use it", remedy="set rstudio.isolation to auto"
                )


def _rserver(command: str | None, environment: Mapping[str, str]) -> Path:
    search = environment.get("PATH", os.defpath)
    name = command or "rserver"
    found = shutil.which(str(Path(name).expanduser()) if "/" in name else name, path=search)
    if found is None and command is None:
        found = next((str(place / "rserver") for place in PLACES if os.access(place / "rserver", os.X_OK)), None)
    if found is None:
        looked = f"PATH ({search})" + ("" if command else ", " + ", ".join(map(str, PLACES)))
        raise MissingError(
            f"no RStudio Server: {name} is not there or cannot be run; looked at {looked}", remedy=_REMEDY
        )
    return Path(found).absolute()


def _rsession(server: Path, setting: Path | None) -> Path:
    candidates = (
        [setting] if setting else [place / "rsession" for place in (server.parent, server.resolve().parent, *PLACES)]
    )
    for path in candidates:
        if os.access(path, os.X_OK):
            return path
    raise MissingError(
        f"no rsession: {setting or f'it is not beside {server.resolve()}'}",
        remedy="set rstudio.rsession to the path of the rsession that belongs to rserver",
    )


def _options(command: Sequence[str], environment: Mapping[str, str]) -> frozenset[str]:
    """What ``rserver --help`` lists."""
    try:
        done = subprocess.run(
            [*command, "--help"], env=dict(environment), cwd="/", stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{command[-1]} cannot be run: {error}", remedy=_REMEDY) from error
    options = rserver_options.listed(done.stdout + done.stderr)
    if done.returncode or not options:
        said = (done.stderr.strip() or done.stdout.strip())[-300:]
        raise MissingError(
            f"{command[-1]} does not work: `rserver --help` gave {done.returncode} and said {said!r}", remedy=_REMEDY
        )
    return options


def _check(path: Path, options: frozenset[str], settings: RStudioSettings) -> None:
    lacking = [f"--{name}" for name in rserver_options.REQUIRED if name not in options]
    if lacking:
        raise MissingError(
            f"{path} knows no {', '.join(lacking)}: it cannot be closed to other users", remedy="use another release"
        )
    unknown = sorted(set(settings.options) - options)
    if unknown:
        raise SettingsError(f"rstudio.options: {', '.join(unknown)}: {path} has no such option")


def _version(path: Path) -> str:
    """From the file that lies beside the programs of packages."""
    try:
        return (path.resolve().parent.parent / "VERSION").read_text().strip()
    except (OSError, UnicodeError):
        return ""


def _in_image(settings: RStudioSettings, environment: Mapping[str, str], image: Isolation) -> RServer:
    places = [Path(settings.command)] if settings.command else [place / "rserver" for place in PLACES[:3]]
    inside = apptainer.inside(image)
    path = next((p for p in places if not isolation.failure([*inside, "test", "-x", str(p)], environment)), None)
    if path is None:
        raise MissingError(
            f"{image.image} (rstudio.image) has no RStudio Server: looked for {', '.join(map(str, places))}",
            remedy="set rstudio.command to the path of rserver in the image",
        )
    options = _options([*inside, str(path)], environment)
    _check(path, options, settings)
    return RServer(path, settings.rsession or path.parent / "rsession", options)

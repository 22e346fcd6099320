"""What RStudio needs of this node: R, RStudio Server, and a /tmp of its own."""

from collections.abc import Iterator, Mapping

from ood_runtime import isolation, r_home, rserver_options, rstudio_home
from ood_runtime.errors import OodRuntimeError
from ood_runtime.finding import GOOD, WARNING, Check, Finding
from ood_runtime.settings import Settings

_AUTO = "set rstudio.isolation to auto"


def _r(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if settings.rstudio.image:
        yield Finding("R", GOOD, f"that of {settings.rstudio.image}")
        return
    found = r_home.find(settings.rstudio.r, environment)
    yield Finding("R", GOOD, f"{found.version} at {found.command}, with libR.so in {found.home}")


def _rstudio(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    user = rstudio_home.user_name()
    image = _image(settings, environment)
    found = rstudio_home.find_rserver(settings.rstudio, environment, image)
    version = found.version or rserver_options.release(found.options)
    where = f" in {image.image}" if image else ""
    yield Finding("RStudio Server", GOOD, f"{version} at {found.path}{where}; sessions by {found.rsession}, for {user}")


def _own_tmp(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    if image := _image(settings, environment):
        yield Finding("own /tmp", GOOD, f"by {image.program}")
        return
    try:
        server = rstudio_home.find_rserver(settings.rstudio, environment)
    except OodRuntimeError:
        server = None  # told above; what there is still counts
    if server is not None:
        found = rstudio_home.find_isolation(settings.rstudio, environment, server)
        kept = rserver_options.why_own_tmp(server.options)
        if found is None and kept:
            yield Finding("own /tmp", WARNING, f"rstudio.isolation is none, and this release keeps {kept}", _AUTO)
        else:
            yield Finding("own /tmp", GOOD, f"{found.name}, by {found.program}" if found else "not needed")
    yield from _unusable_isolations(environment, all_of_them=server is None)


def _unusable_isolations(environment: Mapping[str, str], *, all_of_them: bool) -> Iterator[Finding]:
    """What is installed and does not work; with ``all_of_them`` also what works, and what is not there."""
    for name in isolation.ORDER:
        if not all_of_them and isolation.installed(name, environment) is None:
            continue
        try:
            found = isolation.find(name, environment)
        except OodRuntimeError as error:
            yield Finding("own /tmp", WARNING, error.what, error.remedy)
        else:
            if all_of_them:
                yield Finding("own /tmp", GOOD, f"{name}, by {found.program}")


def _image(settings: Settings, environment: Mapping[str, str]) -> isolation.Isolation | None:
    image = settings.rstudio.image
    return isolation.find("apptainer", environment, image) if image else None


CHECKS: tuple[tuple[str, Check], ...] = (("R", _r), ("RStudio Server", _rstudio), ("own /tmp", _own_tmp))

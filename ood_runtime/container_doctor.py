"""What ``doctor`` says of the container of the settings."""

from collections.abc import Iterator, Mapping

from ood_runtime import apps, container_software
from ood_runtime.errors import OodRuntimeError
from ood_runtime.finding import BAD, GOOD, WARNING, Finding
from ood_runtime.settings import Settings


def examine(app: str | None, settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """What the image has for ``app``, or for each that there is: an image need not have all."""
    for name in [app] if app else sorted(apps.available()):
        try:
            found = container_software.look(apps.get(name), settings, environment)
        except OodRuntimeError as error:
            yield Finding("container", BAD if app else WARNING, f"{name}: {error.what}", error.remedy)
        else:
            yield Finding("container", GOOD, f"{settings.environment.container} has {found.in_words()} for {name}")

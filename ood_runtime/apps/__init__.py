"""Apps: each knows what one kind of session consists of. A module here, or an entry point in ``ood_runtime.apps``.

An app is a function from a context to a plan, with what must be known before: the ports and secrets that it
needs, and the software that it finds on the node.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Protocol

from ood_runtime.context import Context, Software
from ood_runtime.errors import SettingsError
from ood_runtime.plan import Plan
from ood_runtime.settings import Settings


class App(Protocol):
    """One kind of session."""

    @property
    def name(self) -> str:
        """What the command line calls it."""
        ...

    @property
    def summary(self) -> str:
        """What it is, in a few words."""
        ...

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of the ports that it needs."""
        ...

    @property
    def secrets(self) -> Mapping[str, str]:
        """The names of the secrets that it needs, and the kind of each: a function of ``secret``."""
        ...

    def find(self, settings: Settings, environment: Mapping[str, str]) -> Software:
        """What it needs on this node; raises MissingError that tells everything that is missing."""
        ...

    def plan(self, context: Context) -> Plan:
        """What to write and what to run."""
        ...


def available() -> dict[str, App]:
    """All apps by name: the modules of this package, and those of other packages."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
    plugins = [point.load() for point in entry_points(group="ood_runtime.apps")]
    apps: list[App] = [*(module.APP for module in modules), *plugins]
    return {app.name: app for app in apps}


def get(name: str) -> App:
    """The app called ``name``. Raises SettingsError when there is none."""
    module = f"{__name__}.{name.replace('-', '_')}"
    if name.replace("-", "").isalpha() and importlib.util.find_spec(module):
        app: App = importlib.import_module(module).APP
        return app
    apps = available()
    if name not in apps:
        raise SettingsError(f"there is no app {name!r}; there are {', '.join(sorted(apps))}")
    return apps[name]

"""The settings files of a test, in a place of their own."""

from pathlib import Path
from typing import Any

import pytest

from ood_runtime.errors import SettingsError
from ood_runtime.settings import Loaded, load


class Files:
    """The settings files of a test, and the environment that leads to them."""

    def __init__(self, directory: Path) -> None:
        self.site = directory / "site.yml"
        self.user = directory / "config" / "ood-runtime" / "config.yml"
        self.session = directory / "session.yml"
        self.user.parent.mkdir(parents=True)
        for path in (self.site, self.user, self.session):
            path.touch()
        self.environment = {
            "HOME": str(directory),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "OOD_RUNTIME_SITE_CONFIG": str(self.site),
        }

    def load(
        self,
        *overrides: str,
        site: str = "",
        user: str = "",
        session: str = "",
        config: tuple[Path, ...] | None = None,
        **variables: str,
    ) -> Loaded:
        for path, text in ((self.site, site), (self.user, user), (self.session, session)):
            path.write_text(text)
        files = (self.session,) if config is None else config
        return load(files, overrides, self.environment | {f"OOD_RUNTIME_{k}": v for k, v in variables.items()})

    def problems(self, *overrides: str, **layers: Any) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load(*overrides, **layers)
        assert caught.value.exit_status == 2
        assert "config explain" in caught.value.remedy
        return caught.value.what.splitlines()


def cores(number: int) -> str:
    return f"spark:\n  worker:\n    cores: {number}\n"


PROTECTED_ENTRIES = (
    "spark.authenticate",
    "spark.authenticate.secret",
    "spark.network.crypto.enabled",
    "spark.io.encryption.enabled",
    "spark.ssl.enabled",
    "spark.acls.enable",
    "spark.ui.filters",
    "spark.ui.killEnabled",
    "spark.master",
    "spark.master.rest.enabled",
    "spark.org.apache.spark.ui.JWSFilter.param.secretKey",
    "spark.redaction.regex",
)

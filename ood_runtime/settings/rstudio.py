"""The settings of RStudio Server."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ood_runtime.settings.section import AbsolutePath, ConfValue, Section

# What decides who gets in, and what a session could not do without: no option can change these.
_OURS = re.compile(
    r"auth-.*|www-(address|port|socket|root-path|url-path-prefix|same-site|.*origin.*)|server-(user|daemonize|data-dir)"
    r"|server-pid-file|secure-cookie-key-file|database-config-file|rsession-(path|which-r|config-file)|rldpath-path|db-command"
    r"|verify-installation|help|check-config|config-file|(session-)?timeout-minutes"
)


def _option(name: str) -> str:
    if _OURS.fullmatch(name) or name.startswith("session-timeout-minutes"):
        raise ValueError("is an option that ood-runtime sets itself")
    return name


def _option_value(value: str) -> str:
    if re.search(r"[\r\n#]", value):
        raise ValueError("should be one line without #, at which RStudio's files end a value")
    return value


Option = Annotated[str, Field(pattern=r"^[a-z][a-z0-9\-]*$"), AfterValidator(_option)]
OptionValue = Annotated[ConfValue, AfterValidator(_option_value)]


class RStudio(Section):
    """RStudio Server."""

    command: str | None = None
    """The rserver to start: a name on PATH or a path. Not set: on PATH, else where packages install it. With an image:
    its path in the image."""
    rsession: AbsolutePath | None = None
    """The rsession that belongs to it. Not set: the one beside rserver."""
    r: str | None = None
    """The R of the session: a name on PATH or a path. Not set: R on PATH, else where packages install it."""
    image: AbsolutePath | None = None
    """An Apptainer (Singularity) image that has RStudio Server and R, to run both in. Needs isolation auto or
    apptainer."""
    isolation: Literal["auto", "none", "bubblewrap", "unshare", "proot", "apptainer"] = "auto"
    """How a session gets a /tmp of its own. Releases up to 1.2, and those from 2022.07 to 2022.11, keep files at fixed
    places in /tmp, where those of other users can be in the way. With auto the first that works here is used, and only
    for a release that needs it; with none such a release fails where another user has used RStudio."""
    workspace: Literal["user", "session"] = "user"
    """Where RStudio keeps open documents, history and suspended sessions: with your own, or in this session's
    directory, so that sessions that run at the same time do not meet there."""
    idle_minutes: int = Field(0, ge=0, le=1_000_000)
    """How long nobody has used an R session before it is suspended: written to disk, and ended. 0 is never: the job
    ends it anyway, and what is in memory elsewhere, such as Spark's, would be lost."""
    sign_out_minutes: int = Field(0, ge=0, le=1_000_000)
    """How long nobody has used the page before it asks for the password again. 0 is never."""
    options: dict[Option, OptionValue] = {}
    """More options of rserver (rserver.conf), such as www-thread-pool-size. Those that secure it cannot be changed."""
    session_options: dict[Option, OptionValue] = {}
    """Options of the R sessions (rsession.conf), such as r-libs-user. What is in /etc/rstudio is not read."""

    @field_validator("session_options")
    @classmethod
    def _a_place_to_begin(cls, options: dict[str, str]) -> dict[str, str]:
        # RStudio takes one that is not there for the home directory, without a word.
        if not options.get("session-default-working-dir", "/").startswith(("/", "~")):
            raise ValueError("session-default-working-dir should be an absolute path (~ is allowed)")
        return options

    @model_validator(mode="after")
    def _one_way_to_isolate(self) -> "RStudio":
        if self.image and self.isolation not in ("auto", "apptainer"):
            raise ValueError(f"rstudio.image is run by apptainer: rstudio.isolation cannot be {self.isolation}")
        if self.isolation == "apptainer" and not self.image:
            raise ValueError("rstudio.isolation is apptainer, which needs rstudio.image")
        return self

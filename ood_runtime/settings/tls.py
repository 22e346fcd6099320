"""The settings of what is encrypted on the network."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ood_runtime.settings.section import Section


def _file(value: str) -> str:
    if not re.match(r"[/$]", value) or "\n" in value:
        raise ValueError("should start with / or a $VARIABLE of the job")
    return value


File = Annotated[str, AfterValidator(_file)]


class Tls(Section):
    """Encryption of what the portal, browsers and the job's nodes send to each other."""

    mode: Literal["off", "self-signed", "files"] = "off"
    """With self-signed the session makes a certificate of its own. With files the portal gets the one named below, and
    Spark, which no one else talks to, one of the session. With off the portal's proxy talks plain HTTP to the session;
    what Spark sends is encrypted, but for its web interfaces."""
    certificate: File | None = None
    """For files: the certificate in PEM, which names this node; may have the rest of its chain behind it. May contain
    $VARIABLES of the job, where each job or node is given one of its own."""
    key: File | None = None
    """For files: the certificate's private key in PEM, without a passphrase. Nobody but you may be able to read it."""
    chain: File | None = None
    """For files: the certificates between this one and its authority, in PEM, where they are in another file."""
    days: int = Field(90, ge=1, le=825)
    """How long a self-signed certificate is valid when it is not known when the job ends. Else: until a day after."""

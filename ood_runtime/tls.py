"""What a session proves itself with where TLS is on: values only. ``certificates`` makes and reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ood_runtime.plan import Directories, File
from ood_runtime.secret import Secret

CERTIFICATE, KEY = "tls/certificate.pem", "tls/key.pem"
SESSION_CERTIFICATE, STORE = "tls/session.pem", "tls/spark.p12"


@dataclass(frozen=True)
class Identity:
    """A certificate in PEM, with those of its chain behind it, and its private key in PEM."""

    certificate: str
    key: Secret


@dataclass(frozen=True)
class Tls:
    """``front`` is what the portal's proxy sees; ``inner``, for the session's own programs, is its own in any case.

    ``store`` is ``inner`` once more, as Java reads it (PKCS #12), behind ``store_password``.
    """

    front: Identity
    inner: Identity
    store: bytes = field(repr=False)
    store_password: Secret


def front_files(tls: Tls | None) -> tuple[File, ...]:
    """What a server that the portal's proxy talks to reads; nothing where TLS is off."""
    if tls is None:
        return ()
    return (File(CERTIFICATE, tls.front.certificate), File(KEY, tls.front.key.reveal(), secret=True))


def spark_files(tls: Tls | None) -> tuple[File, ...]:
    """What Spark's programs read, and what talks to them; nothing where TLS is off."""
    if tls is None:
        return ()
    return (File(SESSION_CERTIFICATE, tls.inner.certificate), File(STORE, tls.store, secret=True))


def connection(tls: Tls | None, directories: Directories) -> Mapping[str, str]:
    """What connection.yml says of it: where the certificate is, for whoever wants to be sure of the server."""
    return {"certificate": str(directories.private / CERTIFICATE)} if tls else {}


def front_certificate(tls: Tls | None) -> str:
    """The certificate that such a server must show; empty where TLS is off."""
    return tls.front.certificate if tls else ""

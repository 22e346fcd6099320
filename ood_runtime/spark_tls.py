"""TLS for Spark: the only place that knows which of its programs can have it, and what becomes of the others.

Spark 4 has it for all that it sends. Spark 3.5 has it for web interfaces only, and a master there cannot pass on pages
that it would have to fetch over TLS: so on the first node they stay on its own loopback interface, without TLS. Between
the nodes Spark 3.5 has the encryption that it has anyway. docs/decisions/0016-tls.md has the reasons.
"""

from ood_runtime.context import Context
from ood_runtime.tls import SESSION_CERTIFICATE, STORE, Tls

_LOOPBACK = "127.0.0.1"


def everywhere(context: Context) -> bool:
    """Whether whatever this session's Spark sends is inside of TLS."""
    return context.tls is not None and _release(context) >= (4, 0)


def interface_address(context: Context) -> str:
    """The address of this node where the web interfaces of its master, its workers and its applications are."""
    return _LOOPBACK if context.tls and not everywhere(context) else context.place.cluster


def interface_certificate(context: Context) -> str:
    """The certificate, in PEM, that these show; empty where they are without TLS."""
    return context.tls.inner.certificate if context.tls and everywhere(context) else ""


def interface_certificate_file(context: Context) -> str:
    """Where it is on this node; empty where they are without TLS."""
    return str(context.directories.private / SESSION_CERTIFICATE) if everywhere(context) else ""


def properties(context: Context) -> dict[str, str]:
    """What all of Spark's programs must know."""
    if context.tls is None:
        return {}
    entries = {"spark.ssl.enabled": "true", "spark.ssl.protocol": "TLSv1.3", **_stores(context, context.tls)}
    if everywhere(context):
        # Spark's own encryption would go on around TLS. Without it, SASL asks who knows the secret.
        return {**entries, "spark.ssl.rpc.enabled": "true", "spark.network.crypto.enabled": "false"}
    return {**entries, "spark.ssl.ui.enabled": "false"}


def master_properties(context: Context) -> dict[str, str]:
    """What only the master must know: where its web interface is, and whom it trusts when it passes on others."""
    if context.tls is None:
        return {}
    if not everywhere(context):
        return worker_properties(context)
    return {
        "spark.ssl.standalone.port": str(context.grant.ports["spark_master_ui"]),
        "javax.net.ssl.trustStore": str(context.directories.private / STORE),
        "javax.net.ssl.trustStorePassword": context.tls.store_password.reveal(),
    }


def worker_properties(context: Context) -> dict[str, str]:
    """What only the workers of this node must know."""
    return {"spark.ssl.standalone.enabled": "false"} if context.tls and not everywhere(context) else {}


def _stores(context: Context, tls: Tls) -> dict[str, str]:
    """One file is both: a store of a key has the certificate that belongs to it, which is then the only trusted one.

    Where Spark finds no file of those it trusts, it trusts everybody; it does not start without one of keys.
    """
    store = str(context.directories.private / STORE)
    entries: dict[str, str] = {}
    for name in ("keyStore", "trustStore"):
        entries |= {
            f"spark.ssl.{name}": store,
            f"spark.ssl.{name}Password": tls.store_password.reveal(),
            f"spark.ssl.{name}Type": "PKCS12",
        }
    return entries


def _release(context: Context) -> tuple[int, int]:
    return context.software.spark.spark.release if context.software.spark else (0, 0)

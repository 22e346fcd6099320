"""Talking HTTP to a server of the session: over TLS where it has a certificate, which is then the only one trusted."""

import http.client
import ssl


def connection(address: str, port: int, seconds: float, certificate: str = "") -> http.client.HTTPConnection:
    """A connection that is opened by its first request, and gives up after so many ``seconds``.

    With a ``certificate`` in PEM it is one of TLS, to whoever has the key of exactly this one: what it names does not
    matter. A server with another one is an ssl.SSLError, which is an OSError.
    """
    if not certificate:
        return http.client.HTTPConnection(address, port, timeout=seconds)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Trusted by itself, whoever has signed it; no authority is trusted with it (X509_V_FLAG_PARTIAL_CHAIN).
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    leaf, end, _ = certificate.partition(ssl.PEM_FOOTER)
    context.load_verify_locations(cadata=leaf + end)
    return http.client.HTTPSConnection(address, port, timeout=seconds, context=context)

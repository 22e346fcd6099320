"""What a login is checked against: not the password, but what comes of it."""

import hashlib

from ood_runtime.secret import Secret


def jupyter_hash(password: Secret, salt: Secret) -> Secret:
    """The hash in the format of ``jupyter_server.auth.security``, made in one pass instead of its ten.

    Many passes slow down who tries likely passwords. Nobody can try all of ours, which are random; but the start of
    every session would wait for two of these hashes, 50 ms each.
    """
    from passlib.hash import argon2  # noqa: PLC0415  (tens of milliseconds that no other app has to wait for)

    parameters = {"type": "ID", "memory_cost": 10240, "time_cost": 1, "parallelism": 8}
    scheme = argon2.using(salt=salt.reveal().encode(), **parameters)  # type: ignore[no-untyped-call]
    return Secret("argon2:" + scheme.hash(password.reveal()))


def digest(password: Secret) -> Secret:
    """The SHA-256 of a password in hexadecimal digits, as sha256sum(1) prints it: enough for one that is random."""
    return Secret(hashlib.sha256(password.reveal().encode("utf-8", "surrogateescape")).hexdigest())

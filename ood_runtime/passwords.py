"""The password hash that Jupyter Server checks a login against."""

from passlib.hash import argon2

from ood_runtime.secret import Secret


def jupyter_hash(password: Secret, salt: Secret) -> Secret:
    """The hash in the format of ``jupyter_server.auth.security``, made in one pass instead of its ten.

    Many passes slow down who tries likely passwords. Nobody can try all of ours, which are random; but the start of
    every session would wait for two of these hashes, 50 ms each.
    """
    parameters = {"type": "ID", "memory_cost": 10240, "time_cost": 1, "parallelism": 8}
    scheme = argon2.using(salt=salt.reveal().encode(), **parameters)  # type: ignore[no-untyped-call]
    return Secret("argon2:" + scheme.hash(password.reveal()))

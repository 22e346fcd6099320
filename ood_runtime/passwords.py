"""The password hash that Jupyter Server checks a login against."""

from passlib.hash import argon2

from ood_runtime.secret import Secret


def jupyter_hash(password: Secret, salt: Secret) -> Secret:
    """The hash in the format of ``jupyter_server.auth.security`` with its own parameters.

    A login costs the server about 40 ms, which also slows whoever guesses.
    """
    parameters = {"type": "ID", "memory_cost": 10240, "time_cost": 10, "parallelism": 8}
    scheme = argon2.using(salt=salt.reveal().encode(), **parameters)  # type: ignore[no-untyped-call]
    return Secret("argon2:" + scheme.hash(password.reveal()))

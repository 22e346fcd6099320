"""The only place that knows how Spark's web interfaces are closed, and what opens them.

Spark 4 has a filter for that, JWSFilter; for Spark 3.5 we bring one, as Java source, and compile it with
Janino, the Java compiler among Spark's own jars. docs/decisions/0007-spark-3-5-web-ui.md has the reasons.
"""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from ood_runtime.errors import OodRuntimeError
from ood_runtime.secret import Secret

CLASS_NAME = "ood_runtime.BearerTokenFilter"
JWS_CLASS_NAME = "org.apache.spark.ui.JWSFilter"

_COMPILER = "org.codehaus.commons.compiler.samples.CompilerDemo"
_CLASS_FILE = CLASS_NAME.replace(".", "/") + ".class"
# Seconds; the compiler takes half of one, a cold network file system more.
_TIMEOUT = 120


def needs_compile(spark_release: tuple[int, int]) -> bool:
    """Whether this Spark (major, minor) has no filter of its own and needs what ``compile_filter`` gives."""
    return spark_release < (4, 0)


def conf(spark_release: tuple[int, int], key: Secret) -> dict[str, str]:
    """The properties that close the interfaces of this Spark (major, minor): master, workers, applications.

    ``key`` is what ``secret.key`` gives. The values are secret.
    """
    return bearer_conf(key) if needs_compile(spark_release) else jws_conf(key)


def authorization(spark_release: tuple[int, int], key: Secret) -> Secret:
    """The value of the header ``Authorization`` that opens what ``conf`` closed."""
    token = key if needs_compile(spark_release) else jws_token(key)
    return Secret(f"Bearer {token.reveal()}")


def bearer_conf(token: Secret) -> dict[str, str]:
    """The properties that close the interfaces of Spark 3.5.

    The path from ``compile_filter`` must be on the class path of the master, the workers and the drivers
    (``spark.driver.extraClassPath``): without it they do not start.
    """
    return {
        "spark.ui.filters": CLASS_NAME,
        # Spark masks what has "token" in its name on its Environment pages (spark.redaction.regex).
        f"spark.{CLASS_NAME}.param.token": token.reveal(),
    }


def jws_conf(key: Secret) -> dict[str, str]:
    """The properties that close the interfaces of Spark 4; ``key``: 256 bits or more in URL-safe Base64."""
    return {
        "spark.ui.filters": JWS_CLASS_NAME,
        f"spark.{JWS_CLASS_NAME}.param.secretKey": key.reveal(),
    }


def jws_token(key: Secret) -> Secret:
    """The token that JWSFilter takes: a claim signed with HMAC-SHA256 (RFC 7515); it does not expire.

    The same key gives the same token. Raises ValueError for a key of less than 256 bits.
    """
    text = key.reveal()
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(raw) < 32:
        raise ValueError(f"a key of 256 bits is needed (RFC 7518, section 3.2), not of {8 * len(raw)}")
    signed = b".".join(_base64url(_json(part)) for part in ({"alg": "HS256"}, {"sub": "ood-runtime"}))
    signature = hmac.digest(raw, signed, hashlib.sha256)
    return Secret(b".".join((signed, _base64url(signature))).decode())


def compile_filter(java_executable: Path, jars: Sequence[Path], directory: Path) -> Path:
    """Compile the filter for Spark 3.5 into ``directory`` and return the jar, an entry for class paths.

    Half a second; what is there already is used again, so ``directory`` must be one where only we, or
    who installed us, can write. ``jars`` are those of the Spark that will load it. Raises OodRuntimeError
    with the compiler's message.
    """
    source = resources.files("ood_runtime").joinpath("scripts/BearerTokenFilter.java").read_bytes()
    # A jar, because class-data archives refuse directories on the class path; without "token" in its
    # name, because Spark would mask the whole class path on its Environment pages.
    target = directory / f"spark-ui-filter-{hashlib.sha256(source).hexdigest()[:16]}.jar"
    if zipfile.is_zipfile(target):
        return target
    try:
        with tempfile.TemporaryDirectory(prefix=".spark-ui-filter-", dir=directory) as name:
            scratch = Path(name)
            (scratch / "BearerTokenFilter.java").write_bytes(source)
            _run_compiler(java_executable, jars, scratch)
            _pack(scratch / _CLASS_FILE, scratch / target.name)
            (scratch / target.name).replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OodRuntimeError(
            f"cannot compile the filter of Spark's web interfaces into {directory}: {reason}",
            remedy="see that the directory exists, that we may write there and that the disk is not full",
        ) from error
    return target


def _run_compiler(java_executable: Path, jars: Sequence[Path], scratch: Path) -> None:
    class_path = os.pathsep.join(str(jar.absolute()) for jar in jars)
    flags = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    arguments = ["-d", ".", "-classpath", class_path, "-encoding", "UTF-8", "BearerTokenFilter.java"]
    try:
        done = subprocess.run(
            [str(java_executable.absolute()), *flags, "-cp", class_path, _COMPILER, *arguments],
            cwd=scratch,
            # Java fails in a directory whose name the locale cannot spell.
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise _failure(f"cannot start {java_executable}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise _failure(f"{java_executable} did not end within {_TIMEOUT} seconds") from error
    if done.returncode != 0 or not (scratch / _CLASS_FILE).is_file():
        said = (done.stderr + done.stdout).strip() or f"exit status {done.returncode}, without a message"
        raise _failure("\n".join(said.splitlines()[:5]))


def _failure(reason: str) -> OodRuntimeError:
    return OodRuntimeError(
        f"cannot compile the filter of Spark's web interfaces: {reason}",
        remedy="see that the Spark is complete (janino, commons-compiler and servlet-api in its jars) "
        "and that its Java works",
    )


def _pack(class_file: Path, jar: Path) -> None:
    # A fixed date: the same source gives the same bytes.
    entry = zipfile.ZipInfo(_CLASS_FILE, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(jar, "x") as content:
        content.writestr(entry, class_file.read_bytes())


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64url(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")

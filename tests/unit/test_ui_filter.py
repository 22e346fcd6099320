"""The properties and tokens for Spark's web interfaces, and what goes wrong around the compiler."""

import base64
import hashlib
import hmac
import json
import re
import stat
import zipfile
from pathlib import Path

import pytest

from ood_runtime import secret, ui_filter
from ood_runtime.errors import OodRuntimeError
from ood_runtime.secret import Secret

# The key of RFC 7515, appendix A.1: longer than 256 bits, with both characters of URL-safe Base64.
RFC_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
# What Spark masks on its pages: spark.redaction.regex, the same in 3.5 and 4.
REDACTED = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def compiler(path: Path) -> Path:
    """Stands in for Java with Janino: leaves a class file and its arguments, knows no Java."""
    return program(path, 'mkdir ood_runtime; printf "%s " "$@" >ood_runtime/BearerTokenFilter.class')


@pytest.mark.parametrize("release", [(3, 5), (4, 0), (4, 3)])
def test_only_one_value_is_secret_and_spark_masks_it(release: tuple[int, int]) -> None:
    key = secret.key()
    conf = ui_filter.conf(release, key)
    assert [name for name, value in conf.items() if key.reveal() in value and REDACTED.search(name)]
    assert [value for value in conf.values() if key.reveal() in value] == [key.reveal()]


@pytest.mark.parametrize(
    ("release", "name"), [((3, 5), ui_filter.CLASS_NAME), ((4, 0), "org.apache.spark.ui.JWSFilter")]
)
def test_each_release_has_its_filter(release: tuple[int, int], name: str) -> None:
    conf = ui_filter.conf(release, secret.key())
    assert conf.pop("spark.ui.filters") == name
    assert [key.startswith(f"spark.{name}.param.") for key in conf] == [True]


def test_spark_3_5_takes_the_key_itself() -> None:
    assert ui_filter.authorization((3, 5), Secret("gabc")) == Secret("Bearer gabc")


def test_the_source_is_of_the_class_that_is_named() -> None:
    source = (Path(ui_filter.__file__).parent / "scripts" / "BearerTokenFilter.java").read_text("ascii")
    package, name = ui_filter.CLASS_NAME.split(".")
    assert f"package {package};" in source
    assert f"public class {name} implements Filter" in source


def test_a_token_is_a_signed_claim() -> None:
    header, payload, signature = ui_filter.jws_token(Secret(RFC_KEY)).reveal().split(".")
    assert json.loads(decode(header)) == {"alg": "HS256"}
    assert json.loads(decode(payload)) == {"sub": "ood-runtime"}
    expected = hmac.new(decode(RFC_KEY), f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert decode(signature) == expected


def test_the_same_key_gives_the_same_token() -> None:
    key = secret.key()
    assert ui_filter.jws_token(key) == ui_filter.jws_token(key)
    assert ui_filter.jws_token(key) != ui_filter.jws_token(secret.key())


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"256 bits is needed .* not of 128"):
        ui_filter.jws_token(secret.key(128))


def test_the_jar_is_made_once_and_is_always_the_same(tmp_path: Path) -> None:
    java = compiler(tmp_path / "java")
    jars = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        jars.append(ui_filter.compile_filter(java, [], tmp_path / name))
        assert list((tmp_path / name).iterdir()) == [jars[-1]]
    assert jars[0].name == jars[1].name
    assert jars[0].read_bytes() == jars[1].read_bytes()
    java.unlink()
    assert ui_filter.compile_filter(java, [], tmp_path / "a") == jars[0]


def test_the_jar_can_be_shared_and_its_name_hides_no_class_path(tmp_path: Path) -> None:
    jar = ui_filter.compile_filter(compiler(tmp_path / "java"), [], tmp_path)
    assert not REDACTED.search(jar.name)
    with zipfile.ZipFile(jar) as content:
        (entry,) = content.infolist()
    assert entry.filename == "ood_runtime/BearerTokenFilter.class"
    assert stat.S_IMODE(entry.external_attr >> 16) == 0o644


def test_a_broken_jar_is_made_again(tmp_path: Path) -> None:
    java = compiler(tmp_path / "java")
    jar = ui_filter.compile_filter(java, [], tmp_path)
    whole = jar.read_bytes()
    jar.write_bytes(whole[:40])
    assert ui_filter.compile_filter(java, [], tmp_path).read_bytes() == whole


def test_relative_paths_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path / "java")
    monkeypatch.chdir(tmp_path)
    jar = ui_filter.compile_filter(Path("java"), [Path("jars/a.jar")], Path())
    with zipfile.ZipFile(jar) as content:
        assert f" {tmp_path}/jars/a.jar " in content.read(content.namelist()[0]).decode()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'Line 20, Column 9: no such thing' >&2; exit 1",
            "interfaces: Line 20, Column 9: no such thing",
        ),
        ("exit 3", "exit status 3, without a message"),
        ("exit 0", "exit status 0, without a message"),
    ],
)
def test_the_compilers_message_is_told(script: str, message: str, tmp_path: Path) -> None:
    java = program(tmp_path / "java", script)
    with pytest.raises(OodRuntimeError, match=message):
        ui_filter.compile_filter(java, [], tmp_path)
    assert list(tmp_path.iterdir()) == [java]


def test_a_java_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(OodRuntimeError, match=r"cannot start .*/java: No such file"):
        ui_filter.compile_filter(tmp_path / "java", [], tmp_path)


def test_a_java_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui_filter, "_TIMEOUT", 0.2)
    with pytest.raises(OodRuntimeError, match="did not end within"):
        ui_filter.compile_filter(program(tmp_path / "java", "exec sleep 30"), [], tmp_path)


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OodRuntimeError, match=r"into .*/none: No such file") as caught:
        ui_filter.compile_filter(compiler(tmp_path / "java"), [], tmp_path / "none")
    assert "directory exists" in caught.value.remedy


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

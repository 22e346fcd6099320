"""Secrets: how they look, and how they stay out of sight."""

import logging
import pickle
import re
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import secret
from ood_runtime.passwords import jupyter_hash
from ood_runtime.secret import Secret


@given(st.integers(1, 64))
def test_passwords_begin_with_g_to_z_and_have_only_letters_and_digits(length: int) -> None:
    text = secret.password(length).reveal()
    assert len(text) == length
    assert text[0] in "ghijklmnopqrstuvwxyz"
    assert set(text) <= set(string.ascii_letters + string.digits)
    assert yaml.safe_load(text) in (text, True, False, None)


def test_passwords_are_long_and_use_all_of_their_alphabet() -> None:
    texts = [secret.password().reveal() for _ in range(2000)]
    assert {len(text) for text in texts} == {32}
    assert {text[0] for text in texts} == set("ghijklmnopqrstuvwxyz")
    assert {char for text in texts for char in text[1:]} == set(string.ascii_letters + string.digits)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("value", [yaml.safe_load(secret.password().reveal()) for _ in range(50)])
def test_a_bare_password_is_a_string_for_yaml(value: object) -> None:
    assert isinstance(value, str)


def test_keys_have_256_bits() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", secret.key().reveal())
    assert re.fullmatch(r"[0-9a-f]{32}", secret.hexadecimal().reveal())


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r}".format, lambda s: f"{s}", lambda s: repr([s, {"a": s}])]
)
def test_a_secret_does_not_show_itself(show: object) -> None:
    assert callable(show)
    assert "hunter2" not in show(Secret("hunter2"))


def test_a_secret_does_not_show_itself_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("using %s and %r", Secret("hunter2"), {"a": Secret("hunter2")})
    assert "hunter2" not in caplog.text
    assert "********" in caplog.text


def test_secrets_are_compared_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("ü") == Secret("ü")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_secret_survives_the_way_to_the_planner() -> None:
    assert pickle.loads(pickle.dumps(Secret("a"))) == Secret("a")
    assert not hasattr(Secret("a"), "__dict__")


def test_jupyter_accepts_the_hash() -> None:
    security = pytest.importorskip("jupyter_server.auth.security")
    password, salt = Secret("gpassword"), secret.hexadecimal()
    hashed = jupyter_hash(password, salt)
    assert hashed.reveal().startswith("argon2:$argon2id$v=19$m=10240,t=1,p=8$")
    assert security.passwd_check(hashed.reveal(), "gpassword")
    assert not security.passwd_check(hashed.reveal(), "gpasswore")
    assert jupyter_hash(password, salt) == hashed, "a plan is the same every time"
    assert jupyter_hash(password, secret.hexadecimal()) != hashed

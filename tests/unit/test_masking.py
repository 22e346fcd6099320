"""What is generated is shown without what is secret in it."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime import secret
from ood_runtime.masking import mask, shell
from ood_runtime.passwords import jupyter_hash
from ood_runtime.secret import Secret

HASH = jupyter_hash(Secret("g"), Secret("0123456789abcdef"))


@given(st.text(), st.text(), st.booleans())
def test_secrets_are_masked_wherever_they_stand(before: str, after: str, as_bytes: bool) -> None:
    hidden = [secret.password(), secret.key(), secret.hexadecimal()]
    content = before + "'".join(value.reveal() for value in hidden) + after
    try:
        shown = mask(content.encode() if as_bytes else content, hidden)
    except UnicodeEncodeError:
        return
    assert not any(value.reveal() in shown for value in hidden)
    assert shown.startswith(before)


@pytest.mark.parametrize("value", ["x", "it's", "a b", "-----BEGIN\nline\n'quoted'\n-----END", ""])
def test_variables_that_a_script_exports(value: str) -> None:
    quoted, test = shlex.quote(value), '[ -n "$X" ] ||'
    shown = mask(f"export A=1\nexport MY_TOKEN={quoted}\n{test} export B_SECRET={quoted}\nexport C=2\n", [])
    assert shown == 'export A=1\nexport MY_TOKEN=********\n[ -n "$X" ] || export B_SECRET=********\nexport C=2\n'


def test_a_password_hash_is_masked() -> None:
    shown = mask(f"c.hashed_password = {HASH.reveal()!r}\nnext = 1\n", [])
    assert shown == "c.hashed_password = 'argon2:********'\nnext = 1\n"


def test_binary_content_is_only_described() -> None:
    assert mask(b"\xff\xfe", [Secret("a")]) == "(2 bytes)"


@given(st.lists(st.text(), min_size=1))
def test_a_command_is_shown_as_a_shell_reads_it(argv: list[str]) -> None:
    assert shlex.split(shell(argv)) == argv

"""connection.yml: every reader reads what was meant, and nobody ever sees half of it."""

import json
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ood_runtime import connection
from ood_runtime.errors import SessionError
from ood_runtime.secret import Secret

NASTY: tuple[str, ...] = (
    "",
    "01234",
    "0x12",
    "12:30:45",
    "2020-01-01",
    "yes",
    "no",
    "null",
    "~",
    "1e3",
    ".inf",
    "*a",
    "&a",
    "!x",
    "- a",
)
NASTY += (
    "a: b",
    "# a",
    "'",
    '"',
    "\\",
    "a\nb",
    "\t",
    " a ",
    "%a",
    "@a",
    "`a`",
    "{a}",
    "[a",
    "|",
    ">",
    "---",
    "ü€",
    "<<",
)
KEYS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True).filter(lambda key: yaml.safe_load(key) == key)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cn"), max_codepoint=0xFFFD))


@given(st.dictionaries(KEYS, TEXT | st.integers(0, 65535)))
@example({f"k{i}": text for i, text in enumerate(NASTY)})
def test_pyyaml_reads_what_was_meant(values: dict[str, str | int]) -> None:
    assert (yaml.safe_load(connection.text(values)) or {}) == values


@pytest.mark.parametrize("text", ["😀", "\U0001d4b3"])
def test_pyyaml_reads_what_is_beyond_16_bits(text: str) -> None:
    assert yaml.safe_load(connection.text({"a": text})) == {"a": text}


def test_psych_reads_what_was_meant() -> None:
    """The portal's own reader."""
    ruby = shutil.which("ruby")
    if not ruby:
        pytest.skip("needs ruby, which only the portal has")
    values = {f"k{i}": text for i, text in enumerate(NASTY)} | {"port": 8888}
    program = "require 'yaml'; require 'json'; puts JSON.generate(YAML.safe_load($stdin.read))"
    done = subprocess.run(
        [ruby, "-e", program], input=connection.text(values), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == values


def test_secrets_are_revealed_and_the_order_is_kept() -> None:
    text = connection.text({"host": "node1", "port": 8888, "password": Secret("gsecret")})
    assert text == 'host: "node1"\nport: 8888\npassword: "gsecret"\n'


def test_published_for_its_owner_only_and_withdrawn(tmp_path: Path) -> None:
    connection.publish(tmp_path, {"port": 1})
    path = tmp_path / "connection.yml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["connection.yml"]
    connection.withdraw(tmp_path)
    connection.withdraw(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_planted_link_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    session = tmp_path / "session"
    session.mkdir()
    (session / "connection.yml").symlink_to(victim)
    connection.publish(session, {"port": 1})
    assert victim.read_text() == "mine"
    assert not (session / "connection.yml").is_symlink()


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"cannot write .*connection.yml: No such file") as caught:
        connection.publish(tmp_path / "gone", {"port": 1})
    assert "quota" in caught.value.remedy

"""Amounts of memory: what people write, and what Spark and Java read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ood_runtime.settings import sizes
from ood_runtime.settings.sizes import GIB, KIB, MIB, TIB


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("4g", 4 * GIB),
        ("4G", 4 * GIB),
        ("4gb", 4 * GIB),
        ("4 GiB", 4 * GIB),
        ("1.5g", GIB + 512 * MIB),
        (" 512m ", 512 * MIB),
        ("64k", 64 * KIB),
        ("1t", TIB),
        ("100", 100),
        ("100b", 100),
        (1234, 1234),
    ],
)
def test_what_people_write(written: object, amount: int) -> None:
    assert sizes.parse(written) == amount


@pytest.mark.parametrize("written", ["", "g", "4x", "4 g g", "-4g", "4,5g", "1e3", "0x10", "four", "4gib "[:-1] + "i"])
def test_what_is_no_amount(written: str) -> None:
    with pytest.raises(ValueError, match="512m or 4g"):
        sizes.parse(written)


@given(st.integers(0, 2**53))
def test_a_written_amount_is_read_back(amount: int) -> None:
    assert sizes.parse(sizes.text(amount)) == amount


@given(st.integers(0, 2**53))
def test_spark_gets_whole_mebibytes_and_never_more(amount: int) -> None:
    assert 0 <= amount - sizes.parse(sizes.spark(amount)) < MIB


def test_an_amount_beyond_every_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="more memory than there can be"):
        sizes.parse("9" * 400 + "g")

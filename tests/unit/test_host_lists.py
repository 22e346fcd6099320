"""Lists of hosts are read as Slurm's own program reads them."""

import os
import subprocess
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ood_runtime.host_lists import counts, expand, is_same, place_of
from tests.support.needs import need

NAMES = st.from_regex(r"[a-z]{1,3}-?", fullmatch=True)
RANGES = st.builds(
    lambda low, more, width, single: f"{low:0{width}d}" + ("" if single else f"-{low + more:0{width}d}"),
    st.integers(0, 120),
    st.integers(0, 4),
    st.integers(1, 4),
    st.booleans(),
)
BRACKETS = st.lists(RANGES, min_size=1, max_size=3).map(lambda ranges: f"[{','.join(ranges)}]")
TOKENS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9\-]{0,4}[a-z0-9]", fullmatch=True),
    st.lists(st.tuples(NAMES, BRACKETS), min_size=1, max_size=4).map(lambda parts: "".join(a + b for a, b in parts)),
)
LISTS = st.lists(TOKENS, min_size=1, max_size=3).map(",".join)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node[01-02,07]", "node01 node02 node07"),
        ("a,b,c[9-11]", "a b c9 c10 c11"),
        ("r[1-2]n[01-03]", "r1n01 r1n02 r1n03 r2n01 r2n02 r2n03"),
        ("x[1-2]y[3-4]z[5-6]", "x1y3z5 x1y3z6 x2y3z5 x2y3z6 x1y4z5 x1y4z6 x2y4z5 x2y4z6"),
        ("n[1-2]-ib,login", "n1-ib n2-ib login"),
        ("n[098-101]", "n098 n099 n100 n101"),
        ("n[9-010]", "n9 n10"),
        ("[1-3]", "1 2 3"),
        (" a, b\n", "a b"),
        ("a,,b,", "a b"),
    ],
)
def test_compressed_lists(text: str, hosts: str) -> None:
    assert expand(text) == hosts.split()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no host"),
        (",", "names no host"),
        ("n[1-2", "brackets do not match"),
        ("n1-2]", "brackets do not match"),
        ("n[[1-2]", "brackets do not match"),
        ("n[]", "'' is no range"),
        ("n[a-b]", "'a-b' is no range"),
        ("n[1-,2]", "'1-' is no range"),
        ("n[3-1]", "'3-1' runs backwards"),
        ("n[1-99999999999]", "too many hosts"),
        ("n[1-9999][1-9999]", "too many hosts"),
        ("n[\u0661-\u0663]", "is no range"),
    ],
)
def test_what_is_no_list(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        expand(text)


@given(st.text("n[]-,01 ", max_size=12))
def test_any_text_is_a_list_or_refused(text: str) -> None:
    try:
        assert expand(text)
    except ValueError as error:
        assert str(error)


class Scontrol(Protocol):
    """The hosts of a list, as the real program shows them."""

    def __call__(self, text: str) -> list[str]: ...


@pytest.fixture(scope="module")
def scontrol(tmp_path_factory: pytest.TempPathFactory) -> Scontrol:
    """Slurm's own program; it needs a configuration, but no cluster."""
    program = need("scontrol")
    configuration = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    configuration.write_text("ClusterName=none\nSlurmctldHost=localhost\nNodeName=n1\n")
    env = {"PATH": os.environ.get("PATH", os.defpath), "SLURM_CONF": str(configuration)}

    def show(text: str) -> list[str]:
        command = [program, "show", "hostnames", text]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()

    return show


@settings(max_examples=40)
@given(text=LISTS)
def test_as_scontrol_shows_it(scontrol: Scontrol, text: str) -> None:
    assert expand(text) == scontrol(text)


def test_a_list_of_thousands_as_scontrol_shows_it(scontrol: Scontrol) -> None:
    text = "rack[01-32]node[001-128],gpu[1-9,11-20]"
    assert expand(text) == scontrol(text)


@pytest.mark.parametrize(
    ("text", "numbers"), [("4(x2),8", [4, 4, 8]), ("16", [16]), ("1,2,3", [1, 2, 3]), ("72(x3)", [72, 72, 72])]
)
def test_compressed_numbers(text: str, numbers: list[int]) -> None:
    assert counts(text) == numbers


@pytest.mark.parametrize("text", ["", "4(x2", "x", "4(2)", "-1", "1.5", "4(x99999999)"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match=r"no number|too many"):
        counts(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("n1", "n1", True),
        ("n1", "n1.example.org", True),
        ("N1.example.org", "n1", True),
        ("n1.a.org", "n1.b.org", False),
        ("n1", "n10", False),
    ],
)
def test_names_with_and_without_a_domain(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is same


def test_an_exact_name_goes_first() -> None:
    hosts = ["n1.cluster", "n1", "n2"]
    assert place_of(["n1"], hosts) == 1
    assert place_of(["N2.cluster"], hosts) == 2
    assert place_of(["other", "n2"], hosts) == 2
    assert place_of(["n3"], hosts) is None

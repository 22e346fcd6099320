"""The only place that reads lists of hosts as schedulers write them, and compares the names in them."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence

# Slurm's own limit for one range (MAX_RANGE in its hostlist.c).
_MOST_HOSTS = 64 * 1024


def expand(text: str) -> list[str]:
    """The hosts of a compressed list of Slurm, in its order: ``n[01-02,07],login`` is n01, n02, n07, login.

    The numbers of a range are as wide as its first one, and a name may have several ranges (hostlist.c of Slurm).
    Raises ValueError when it is not such a list.
    """
    # Commas inside of brackets part numbers, the others hosts.
    tokens = re.split(r"[,\s]+(?![^\[\]]*\])", text.strip(", \t\n"))
    hosts = [host for token in tokens if token for host in _expand_one(token)]
    if not hosts:
        raise ValueError("it names no host")
    return hosts


def counts(text: str) -> list[int]:
    """The numbers of a compressed list of Slurm: ``4(x2),8`` is 4, 4, 8. Raises ValueError when it is not such."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip(), re.ASCII)
        if not match:
            raise ValueError(f"{part!r} is no number, as in 4(x2),8")
        repeated = int(match[2] or 1)
        if repeated > _MOST_HOSTS:
            raise ValueError(f"{part!r} is for too many hosts")
        numbers += [int(match[1])] * repeated
    return numbers


def place_of(names: Sequence[str], hosts: Sequence[str]) -> int | None:
    """The place of the first host that one of ``names`` means; None when none does."""
    for name in names:
        exact = next((index for index, host in enumerate(hosts) if host == name), None)
        if exact is not None:
            return exact
    return next((i for name in names for i, host in enumerate(hosts) if is_same(name, host)), None)


def is_same(one: str, other: str) -> bool:
    """Whether two names mean the same host: one of them may lack the domain."""
    one, other = one.lower(), other.lower()
    if "." in one and "." in other:
        return one == other
    return one.partition(".")[0] == other.partition(".")[0]


def _expand_one(token: str) -> list[str]:
    parts = re.split(r"\[([^\[\]]*)\]", token)
    literals, ranges = parts[::2], [_numbers(part) for part in parts[1::2]]
    if any(set("[]") & set(literal) for literal in literals):
        raise ValueError(f"the brackets do not match in {token!r}")
    if math.prod(map(len, ranges)) > _MOST_HOSTS:
        raise ValueError(f"{token!r} is for too many hosts")
    # Slurm's order of several ranges: the last one runs fastest, then the first one, the second one, and so on.
    slowest_first = [*range(len(ranges) - 2, -1, -1), len(ranges) - 1] if ranges else []
    hosts = []
    for numbers in itertools.product(*(ranges[index] for index in slowest_first)):
        chosen = dict(zip(slowest_first, numbers, strict=True))
        hosts.append(literals[0] + "".join(chosen[i] + literals[i + 1] for i in range(len(ranges))))
    return hosts


def _numbers(ranges: str) -> list[str]:
    return [number for part in ranges.split(",") for number in _range(part)]


def _range(part: str) -> Iterator[str]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip(), re.ASCII)
    if not match:
        raise ValueError(f"{part!r} is no range of numbers, as in 01-12")
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high:
        raise ValueError(f"the range {part!r} runs backwards")
    if high - low >= _MOST_HOSTS:
        raise ValueError(f"the range {part!r} is for too many hosts")
    return (f"{number:0{len(match[1])}d}" for number in range(low, high + 1))

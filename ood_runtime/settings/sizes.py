"""Amounts of memory: ``4g`` in settings and Spark, bytes inside."""

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
_UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_MOST = 1 << 62
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)


def parse(value: Any) -> Any:
    """Bytes from ``4g``, ``512m``, ``1.5 GiB`` or a number of bytes; units are powers of 1024."""
    if not isinstance(value, str):
        return value
    match = _PATTERN.fullmatch(value.strip())
    if not match:
        raise ValueError("should be an amount of memory such as 512m or 4g")
    amount = Decimal(match[1]) * _UNITS[match[2].lower()]
    if amount > _MOST:
        raise ValueError("is more memory than there can be")
    return int(amount)


def text(amount: int) -> str:
    """The shortest exact way to write ``amount`` bytes."""
    for unit, size in (("g", GIB), ("m", MIB), ("k", KIB)):
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)


def spark(amount: int) -> str:
    """``amount`` bytes as Spark and Java take it, in whole MiB, rounded down."""
    return f"{amount // MIB}m"


Memory = Annotated[
    int,
    BeforeValidator(parse),
    PlainSerializer(text, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["512m", "4g"]}),
]

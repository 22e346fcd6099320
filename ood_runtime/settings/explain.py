"""Telling people about settings: all of them with their sources, or one with its meaning."""

import difflib
import json
from typing import Any

from annotated_types import Ge

from ood_runtime.errors import SettingsError
from ood_runtime.masking import SECRET_NAME
from ood_runtime.secret import MASK
from ood_runtime.settings import sizes
from ood_runtime.settings.layers import Loaded, keys
from ood_runtime.settings.model import Settings
from ood_runtime.settings.section import Section

BUILT_IN = "built in"
_KINDS = {"string": "text", "array": "list", "object": "mapping of names to values"}


def rows(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Key, value and source of every setting; entries of spark.conf one by one, those with secret names masked."""
    values = loaded.settings.model_dump(mode="json")
    found = []
    for key in keys(Settings):
        value = _lookup(values, key)
        if isinstance(value, dict) and value:
            for entry, shown in _masked(value).items():
                found.append((f"{key}.{entry}", shown, _source(loaded, f"{key}.{entry}")))
        else:
            found.append((key, value, _source(loaded, key)))
    return found


def explain(key: str, loaded: Loaded) -> str:
    """Meaning, type, value and source of ``key``, or of all keys of the section ``key``.

    Raises SettingsError when there is no such key.
    """
    inside = [name for name in keys(Settings) if name == key or name.startswith(f"{key}.")]
    if not inside:
        near = difflib.get_close_matches(key, keys(Settings), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SettingsError(f"{key} is not a setting{hint}", remedy="`ood-runtime config show` lists them all")
    return "\n\n".join(_explain_one(name, loaded) for name in inside)


def text(value: Any) -> str:
    """A value as people read it."""
    return "(not set)" if value is None else value if isinstance(value, str) else json.dumps(value)


def _explain_one(key: str, loaded: Loaded) -> str:
    section, name = _section(key)
    values = loaded.settings.model_dump(mode="json")
    default = _lookup(Settings().model_dump(mode="json"), key)
    lines = [
        key,
        f"  {' '.join(section.meanings()[name].split())}",
        f"  type:     {_type(key)}",
        f"  built in: {text(default)}",
        f"  now:      {text(_masked(_lookup(values, key)))}  ({_source(loaded, key)})",
        f"  variable: OOD_RUNTIME_{key.upper().replace('.', '__')}",
    ]
    return "\n".join(lines)


def _type(key: str) -> str:
    schema = Settings.model_json_schema()
    node: Any = schema
    for part in key.split("."):
        node = node["properties"][part]
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    options = node.get("anyOf", [node])
    section, name = _section(key)
    least = next((item.ge for item in section.model_fields[name].metadata if isinstance(item, Ge)), None)
    kinds = [_one_type(option, least) for option in options if option.get("type") != "null"]
    return " or ".join(kinds)


def _one_type(node: dict[str, Any], least: Any) -> str:
    if "enum" in node:
        return " or ".join(node["enum"])
    kind = node.get("type", "text")
    if isinstance(kind, list):
        return "amount of memory (512m, 4g)" + (f" from {sizes.text(least)}" if least else "")
    kind = _KINDS.get(kind, kind)
    limits = [
        f"{word} {node[name]}"
        for name, word in (("minimum", "from"), ("exclusiveMinimum", "more than"), ("maximum", "up to"))
        if name in node
    ]
    return " ".join([kind, *limits])


def _section(key: str) -> tuple[type[Section], str]:
    """The section that ``key`` is in, and its name there."""
    section: Any = Settings
    *outer, name = key.split(".")
    for part in outer:
        section = section.model_fields[part].annotation
    assert issubclass(section, Section)  # noqa: S101  (keys() gives only such)
    return section, name


def _source(loaded: Loaded, key: str) -> str:
    parts = sorted({place for name, place in loaded.sources.items() if name.startswith(f"{key}.")})
    return loaded.sources.get(key) or ", ".join(parts) or BUILT_IN


def _masked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: MASK if SECRET_NAME.search(name) else inner for name, inner in value.items()}


def _lookup(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values

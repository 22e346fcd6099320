"""Reading settings as YAML, so that every key knows its line, and text stays the text that was written."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

_NOT_TEXT = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")


def parse(text: str, name: str, model: type[BaseModel]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The values of a settings file, the line of each key as ``FILE:LINE``, and what is wrong with it."""
    reader = _Reader(name)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None or root.tag == "tag:yaml.org,2002:null":
            return {}, {}, []
        if not isinstance(root, yaml.MappingNode):
            return {}, {}, [f"{name}:1: should be a mapping of settings, as in `spark: {{worker: {{cores: 4}}}}`"]
        return reader.mapping(root, (), model), reader.places, reader.problems
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "cannot be read"
        return {}, {}, [f"{name}{line}: not valid YAML: {reason}"]


def from_text(text: str, wanted: Any) -> Any:
    """A value that was given as text on the command line or in a variable, for a setting of the type ``wanted``.

    YAML tells numbers, lists and words apart; where text is wanted, 01234 stays what it is. Raises ValueError
    when it is not valid YAML.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
        return text if node is None else _value(node, wanted)
    except yaml.YAMLError as error:
        raise ValueError(f"cannot be read as a value: {text!r}") from error


def join_free_part(key: list[str], model: type[BaseModel]) -> list[str]:
    """Join what follows a key of free entries: in ``spark.conf.spark.ui.x`` the entry is ``spark.ui.x``."""
    for length in range(1, len(key)):
        if get_origin(kind(key[:length], model)) is dict:
            return [*key[:length], ".".join(key[length:])]
    return key


def kind(key: list[str], model: type[BaseModel]) -> Any:
    """The type of the setting ``key``; None when there is no such setting."""
    here: Any = model
    for part in key:
        here = _inner(here, part)
    return here


@dataclass
class _Reader:
    """One file: ``places`` has the line of each key, ``problems`` what is wrong."""

    name: str
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    open: list[yaml.Node] = field(default_factory=list)

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...], model: Any) -> dict[str, Any]:
        """The values of a mapping that is meant for ``model``."""
        values: dict[str, Any] = {}
        self.open.append(node)
        for key_node, value_node in node.value:
            key = str(_value(key_node, str))
            where = f"{self.name}:{key_node.start_mark.line + 1}"
            dotted = ".".join((*path, key))
            wanted = _inner(model, key)
            if key in values:
                self.problems.append(f"{where}: {dotted} is given twice")
            if value_node in self.open:
                self.problems.append(f"{where}: {dotted} contains itself")
            elif isinstance(value_node, yaml.MappingNode):
                values[key] = self.mapping(value_node, (*path, key), wanted)
            else:
                values[key] = _value(value_node, wanted)
                if values[key] is not None or not _is_container(wanted):
                    self.places[dotted] = where
                else:
                    values[key] = [] if get_origin(wanted) is list else {}  # all its entries are commented out
        self.open.pop()
        return values


def _inner(model: Any, name: str) -> Any:
    if isinstance(model, type) and issubclass(model, BaseModel):
        info = model.model_fields.get(name)
        return info.annotation if info else None
    return str if get_origin(model) is dict else None


def _is_container(wanted: Any) -> bool:
    section = isinstance(wanted, type) and issubclass(wanted, BaseModel)
    return section or get_origin(wanted) in (dict, list)


def _takes_text(wanted: Any) -> bool:
    choices = (get_args(choice)[0] if get_args(choice) else choice for choice in get_args(wanted))
    return wanted is str or str in choices


def _value(node: yaml.Node, wanted: Any) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.tag in _NOT_TEXT and _takes_text(wanted):
        return node.value
    if isinstance(node, yaml.ScalarNode) and get_origin(wanted) is Literal:
        return node.value  # `off` is a word here, which YAML takes for false
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()

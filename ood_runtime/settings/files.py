"""Reading settings as YAML, so that every key knows its line."""

from typing import Any

import yaml
from pydantic import BaseModel


def parse(text: str, name: str, model: type[BaseModel]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The values of a settings file, the line of each key as ``FILE:LINE``, and what is wrong with it."""
    places: dict[str, str] = {}
    problems: list[str] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            return {}, {}, []
        if not isinstance(root, yaml.MappingNode):
            return {}, {}, [f"{name}:1: should be a mapping of settings, as in `spark: {{worker: {{cores: 4}}}}`"]
        values = _mapping(root, (), name, model, places, problems)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "cannot be read"
        return {}, {}, [f"{name}{line}: not valid YAML: {reason}"]
    return values, places, problems


def scalar(text: str) -> Any:
    """A value that was given as text on the command line or in a variable.

    Raises ValueError when it is not valid YAML.
    """
    try:
        return yaml.safe_load(text) if text.strip() else text
    except yaml.YAMLError as error:
        raise ValueError(f"cannot be read as a value: {text!r}") from error


def join_free_part(key: list[str], model: type[BaseModel]) -> list[str]:
    """Join what follows a key of free entries: in ``spark.conf.spark.ui.x`` the entry is ``spark.ui.x``."""
    here: Any = model
    for index, part in enumerate(key):
        if not (isinstance(here, type) and issubclass(here, BaseModel)):
            return [*key[:index], ".".join(key[index:])]
        info = here.model_fields.get(part)
        here = info.annotation if info else None
        if info is None:
            return key
    return key


def _mapping(
    node: yaml.MappingNode,
    path: tuple[str, ...],
    name: str,
    model: Any,
    places: dict[str, str],
    problems: list[str],
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(_construct(key_node))
        where = f"{name}:{key_node.start_mark.line + 1}"
        dotted = ".".join((*path, key))
        if key in values:
            problems.append(f"{where}: {dotted} is given twice")
        fields = getattr(model, "model_fields", {})
        child = fields[key].annotation if key in fields else None
        if isinstance(value_node, yaml.MappingNode):
            values[key] = _mapping(value_node, (*path, key), name, child, places, problems)
            continue
        values[key] = _construct(value_node)
        if values[key] is None and isinstance(child, type) and issubclass(child, BaseModel):
            values[key] = {}  # a section whose entries are all commented out
            continue
        places[dotted] = where
    return values


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()

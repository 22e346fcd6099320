"""What all sections of the settings have in common."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Section(BaseModel):
    """A section knows all its keys: any other one is an error."""

    # A section's validator is part of that of all settings, the only one that a start uses: none is built for itself.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # Python takes True for 1, and YAML takes "on" for true: `cores: on` is a mistake, not one core.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("should not be true or false")
        return value

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """What each key means: the text below it here.

        Read when somebody asks; pydantic's own way (``use_attribute_docstrings``) reads it at each start, 20 ms.
        """
        (definition,) = ast.parse(inspect.getsource(cls)).body
        assert isinstance(definition, ast.ClassDef)  # noqa: S101
        return {
            key.target.id: inspect.cleandoc(text.value.value)
            for key, text in pairwise(definition.body)
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of this section, with the meanings of its keys."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for key, meaning in cls.meanings().items():
            properties[key]["description"] = meaning
        return schema


def _absolute(path: Path) -> Path:
    expanded = path.expanduser()
    if not expanded.is_absolute():
        raise ValueError("should be an absolute path (~ is allowed)")
    return expanded


def _conf_value(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
# A value for a program's own configuration, where YAML's true is the word.
ConfValue = Annotated[str, BeforeValidator(_conf_value)]

"""What all sections of the settings have in common."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A section knows all its keys: any other one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # Python takes True for 1, and YAML takes "on" for true: `cores: on` is a mistake, not one core.
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("should not be true or false")
        return value


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

"""Where settings come from: the layers, weakest first, and every error of all of them in one go.

built-in < site file < user file < --config files < OOD_RUNTIME_... variables < --set flags
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ood_runtime.errors import SettingsError
from ood_runtime.settings import files
from ood_runtime.settings.model import PROTECTED, SITE_ONLY, Settings

PREFIX = "OOD_RUNTIME_"
SITE_FILE = Path("/etc/ood-runtime/config.yml")
# Variables of ours that are no settings: the place of the site file, and what a session gives its children.
RESERVED = {"SITE_CONFIG", "SESSION", "SESSION_DIR", "PYSPARK_KERNEL", "VENV"}
# What Spark calls by these names has settings of its own, by which the parts of a session are made to fit.
_SIZES = {
    "spark.driver.memory": "spark.driver.memory",
    "spark.executor.memory": "spark.executor.memory",
    "spark.executor.cores": "spark.executor.cores",
    "spark.cores.max": "spark.cores_per_application",
}


@dataclass
class Layer:
    """Values from one source. ``places`` says for each key where exactly it was set (a line, a variable)."""

    name: str
    site: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def put(self, key: Sequence[str], value: Any, place: str) -> None:
        """Set ``key`` to ``value``."""
        here = self.values
        for part in key[:-1]:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise ValueError(f"{'.'.join(key)} cannot be set beside a value for all of {part}")
        if isinstance(here.get(key[-1]), dict):
            raise ValueError(f"{'.'.join(key)} cannot be set beside values for parts of it")
        here[key[-1]] = value
        self.places[".".join(key)] = place

    def place(self, key: str) -> str:
        """Where ``key``, or the nearest key above or below it, was set."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self.places.get(".".join(parts[:length]))
            if found:
                return found
        return next((p for k, p in self.places.items() if k.startswith(f"{key}.")), self.name)


@dataclass(frozen=True)
class Loaded:
    """The merged settings, and the source of each value that is not built in."""

    settings: Settings
    sources: Mapping[str, str]


def load(config_files: Sequence[Path], overrides: Sequence[str], environment: Mapping[str, str]) -> Loaded:
    """Read, check and merge all layers.

    Raises SettingsError with one line for each error of every layer.
    """
    layers = [*_file_layers(config_files, environment), _environment_layer(environment), _flags(overrides)]
    locked = list(_check_locks(layers))
    for layer in layers:
        _take_sizes(layer)
    problems = [problem for layer in layers for problem in _check(layer)]
    problems += dict.fromkeys([*locked, *_check_locks(layers)])  # by the name that was given, and by what it means
    problems += _check_protected(layers)
    if not problems:
        try:
            return Loaded(Settings.model_validate(_merged(layers)), _sources(layers))
        except ValidationError as error:  # a bad combination of layers that are right by themselves
            for detail in error.errors(include_url=False):
                key = ".".join(map(str, detail["loc"]))
                layer = next((layer for layer in reversed(layers) if layer.place(key) != layer.name), layers[-1])
                problems.append(_explain(layer, detail))
    raise SettingsError("\n".join(problems), remedy="`ood-runtime config explain KEY` tells what a key means")


def _file_layers(config_files: Sequence[Path], environment: Mapping[str, str]) -> list[Layer]:
    site = environment.get(f"{PREFIX}SITE_CONFIG")
    home = Path(environment.get("HOME", "/nonexistent"))
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "ood-runtime" / "config.yml"
    return [
        _read(Path(site) if site else SITE_FILE, site=True, required=bool(site)),
        _read(user, site=False, required=False),
        *(_read(path, site=False, required=True) for path in config_files),
    ]


def _read(path: Path, *, site: bool, required: bool) -> Layer:
    layer = Layer(str(path), site=site)
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if required:
            layer.problems.append(f"{path}: no such file")
        return layer
    except (OSError, UnicodeDecodeError) as error:
        layer.problems.append(f"{path}: cannot be read: {error}")
        return layer
    layer.values, layer.places, layer.problems = files.parse(text, str(path), Settings)
    return layer


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    layer = Layer("environment")
    for name, value in sorted(environment.items()):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in RESERVED:
            _put_text(layer, name.removeprefix(PREFIX).lower().split("__"), value, f"${name}")
    return layer


def _flags(overrides: Sequence[str]) -> Layer:
    layer = Layer("--set")
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key:
            _put_text(layer, key.strip().split("."), value, f"--set {key}")
        else:
            layer.problems.append(f"--set {override}: should be KEY=VALUE, as in --set spark.worker.cores=4")
    return layer


def _put_text(layer: Layer, key: list[str], text: str, place: str) -> None:
    """Put a value that came as text: YAML tells numbers, lists and words apart."""
    try:
        key = files.join_free_part(key, Settings)
        layer.put(key, files.from_text(text, files.kind(key, Settings)), place)
    except ValueError as error:
        layer.problems.append(f"{place}: {error}")


def _take_sizes(layer: Layer) -> None:
    """Let sizes that were given as entries of spark.conf be the settings that they mean."""
    conf = _lookup(layer.values, "spark.conf")
    for entry, key in _SIZES.items():
        if not isinstance(conf, dict) or entry not in conf:
            continue
        value, place = conf.pop(entry), layer.place(f"spark.conf.{entry}")
        layer.places.pop(f"spark.conf.{entry}", None)
        if _lookup(layer.values, key) is not None:
            layer.problems.append(f"{place}: spark.conf: {entry} is the setting {key}, which is given as well")
            continue
        if key.endswith("memory") and str(value).isdecimal():  # as Spark reads it
            value = f"{value}m"
        try:
            layer.put(key.split("."), value, place)
        except ValueError as error:
            layer.problems.append(f"{place}: {error}")


def _check(layer: Layer) -> Iterator[str]:
    yield from layer.problems
    if layer.values:
        try:
            Settings.model_validate(layer.values)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                yield _explain(layer, detail)
    if not layer.site:
        for key in SITE_ONLY:
            if _lookup(layer.values, key) is not None:
                yield f"{layer.place(key)}: {key} can only be set in the site file"


def _explain(layer: Layer, detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    place = layer.place(key)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, keys(Settings), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; see `ood-runtime config show`"
        return f"{place}: {key} is not a setting{hint}"
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{place}: {key or 'settings'}: {message[:1].lower()}{message[1:]}{shown}"


def _check_locks(layers: Sequence[Layer]) -> Iterator[str]:
    site = layers[0]
    value = site.values.get("locked")
    locked = list(map(str, value)) if isinstance(value, list) else []
    for name in locked:
        if not any(_covers(name, key) for key in keys(Settings)):
            yield f"{site.place('locked')}: locked: {name} is not a setting"
    for layer in layers[1:]:
        for key, place in layer.places.items():
            lock = next((name for name in locked if _covers(name, key)), None)
            if lock:
                yield f"{place}: {key} is locked by {site.name}; remove it, or ask your administrators"


def _check_protected(layers: Sequence[Layer]) -> Iterator[str]:
    """Entries of spark.conf that would weaken the cluster's security."""
    if _lookup(layers[0].values, "spark.allow_insecure") is True:
        return
    for layer in layers:
        conf = _lookup(layer.values, "spark.conf")
        for entry in conf if isinstance(conf, dict) else ():
            if PROTECTED.match(str(entry)):
                yield (
                    f"{layer.place(f'spark.conf.{entry}')}: spark.conf: {entry} secures the cluster and cannot be "
                    "changed; remove it (a site can set spark.allow_insecure)"
                )


def _covers(lock: str, key: str) -> bool:
    """Whether a lock and a key mean the same, or one is a part of the other."""
    return f"{key}.".startswith(f"{lock}.") or f"{lock}.".startswith(f"{key}.")


def _merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """The layers' values merged by pydantic-settings: section by section, the strongest layer first."""
    filled = [layer.values for layer in layers if layer.values]
    if len(filled) < 2:
        return filled[0] if filled else {}
    from pydantic_settings import (  # noqa: PLC0415  (30 ms that only a merge has to wait for)
        BaseSettings,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )

    class Source(PydanticBaseSettingsSource):
        def __init__(self, layer: Layer) -> None:
            super().__init__(Merged)
            self._layer = layer

        def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
            return self._layer.values.get(field_name), field_name, False

        def __call__(self) -> dict[str, Any]:
            return self._layer.values

    class Merged(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(Source(layer) for layer in reversed(layers))

    return Merged().model_dump()


def _sources(layers: Sequence[Layer]) -> dict[str, str]:
    return {key: place for layer in layers for key, place in layer.places.items()}


def _lookup(values: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(values, dict) or part not in values:
            return None
        values = values[part]
    return values


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of the settings, dotted, in the order of the model."""
    found = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found

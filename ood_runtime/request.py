"""What somebody asks for on the command line, or through the Python API."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """Run ``app`` with the job's ``environment``, settings from files and ``KEY=VALUE`` overrides."""

    app: str
    environment: Mapping[str, str]
    session_directory: Path | None = None
    config_files: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    allow_root: bool = False

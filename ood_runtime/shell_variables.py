"""Which variables of a job's environment a shell can take from a file, and which are its own affair."""

import re
from collections.abc import Mapping

# Bash passes exported functions under names such as BASH_FUNC_module%%, which no file can set.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Each shell sets these itself: to set them is an error there, or changes how it reads the rest of the file.
_OWN = re.compile(r"_|IFS|OPTIND|OPTARG|PPID|E?UID|SHELLOPTS|BASHOPTS|BASH_\w*(?<!BASH_ENV)|SHLVL|(OLD)?PWD")
_FUNCTION = re.compile(r"BASH_FUNC_[^=]+(%%|\(\))")


def settable(name: str) -> bool:
    """Whether a file that a shell reads can and should set the variable ``name``."""
    return bool(_NAME.fullmatch(name)) and not _OWN.fullmatch(name)


def functions(environment: Mapping[str, str]) -> dict[str, str]:
    """The functions that Bash has exported into ``environment``, such as ``module``."""
    return {name: value for name, value in sorted(environment.items()) if _FUNCTION.fullmatch(name)}

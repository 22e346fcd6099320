"""Where large, short-lived files go on this node: the bases in which a session makes directories of its own."""

import os
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime.errors import SettingsError
from ood_runtime.private_files import swappable

_FALLBACK = Path("/tmp")  # noqa: S108  (a private directory is made there)


def base(setting: Path | None, environment: Mapping[str, str], disks: Sequence[str] = ()) -> tuple[Path, list[str]]:
    """Where scratch space goes: the setting, else the first of ``disks`` that can be used, else $TMPDIR, else /tmp.

    With a notice when $TMPDIR cannot be used. Raises SettingsError when the directory of the setting cannot be used.
    """
    if setting:
        if reason := _unusable(setting):
            raise SettingsError(f"scratch_dir: {setting} {reason}")
        return setting, []
    good = [place for disk in disks if isinstance(place := _place(disk, environment), Path)]
    if good:
        return good[0], []
    named = environment.get("TMPDIR") or str(_FALLBACK)
    if reason := _unusable(Path(named)):
        return _FALLBACK, [f"TMPDIR is {named}, which {reason}: using {_FALLBACK}"]
    return Path(named), []


def more(disks: Sequence[str], environment: Mapping[str, str]) -> tuple[list[Path], list[str]]:
    """Those of ``disks`` that can be used for shuffle data, and a notice for each that cannot."""
    found = {disk: _place(disk, environment) for disk in disks}
    good = [place for place in found.values() if isinstance(place, Path)]
    return good, [
        f"spark.worker.local_dirs: {disk} {reason}: not used on the first node"
        for disk, reason in found.items()
        if isinstance(reason, str)
    ]


def _place(disk: str, environment: Mapping[str, str]) -> Path | str:
    """A directory with $VARIABLES in its name, or why it cannot be used."""
    try:
        place = Path(string.Template(disk).substitute(environment))
    except (KeyError, ValueError):
        return "has a variable in its name that is not set"
    reason = _unusable(place)
    if not reason and (why := swappable(place / "ood")):
        reason = f"is no safe place: {why}"
    return reason or place


def _unusable(path: Path) -> str:
    if set(",:") & set(str(path)):
        return "has a comma or colon in its name, at which lists of directories are cut"
    if not path.is_absolute() or not path.is_dir():
        return "is no directory"
    return "" if os.access(path, os.W_OK | os.X_OK) else "cannot be written to"

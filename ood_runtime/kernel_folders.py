"""The only place that writes kernelspecs where Jupyter finds them, and takes them away again; never another's."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ood_runtime import private_files, session
from ood_runtime.errors import SessionError
from ood_runtime.kernelspecs import Kernel, files, is_ours

State = Literal["written", "unchanged", "foreign", "removed", "gone"]


@dataclass(frozen=True)
class Folder:
    """A directory of kernelspecs. What is in a ``shared`` one everybody may read."""

    path: Path
    shared: bool = False


@dataclass(frozen=True)
class Entry:
    """What became of the kernelspec called ``name``."""

    name: str
    state: State
    title: str = ""


def of_session(directory: Path) -> Folder:
    """Where the Jupyter of the session in ``directory`` looks first. Raises SessionError when there is no session."""
    session.read_record(directory)
    return Folder(directory / session.PRIVATE / "jupyter" / "kernels")


def of_user(environment: Mapping[str, str]) -> Folder:
    """Where every Jupyter of this user looks (jupyter_core's rules for its data directory)."""
    home = Path(environment.get("HOME") or "~").expanduser()
    data = environment.get("JUPYTER_DATA_DIR") or str(
        Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "jupyter"
    )
    return Folder(Path(data) / "kernels")


def of_prefix(prefix: Path) -> Folder:
    """Where the Jupyter installed below ``prefix`` looks; /usr/local is for every one of the node."""
    return Folder(prefix / "share" / "jupyter" / "kernels", shared=True)


def ours(folder: Folder) -> dict[str, str]:
    """The kernelspecs in ``folder`` that we have written: their titles by their names."""
    found = {}
    with suppress(OSError):
        for path in sorted(folder.path.iterdir()):
            spec = _read(path)
            if is_ours(spec):
                found[path.name] = str(spec.get("display_name", path.name))
    return found


def write(folder: Folder, kernels: Sequence[Kernel], *, force: bool = False) -> list[Entry]:
    """Write the kernelspecs of all ``kernels``; what is right already is not touched.

    Those of others are left alone, except by ``force``. What we wrote once and is not among ``kernels`` stays, and is
    told as gone. Raises SessionError when the folder cannot be written to.
    """
    entries = []
    try:
        for kernel in kernels:
            state = _write(folder, kernel.directory, files(kernel), force=force)
            entries.append(Entry(kernel.directory, state, kernel.title))
    except OSError as error:
        raise SessionError(
            f"cannot write kernelspecs to {folder.path}: {error.strerror or error}",
            remedy="see that the directory is yours and has room, or name another place: --user, --prefix DIR",
        ) from error
    wanted = {kernel.directory for kernel in kernels}
    return [*entries, *(Entry(name, "gone", title) for name, title in ours(folder).items() if name not in wanted)]


def remove(folder: Folder, names: Sequence[str]) -> list[Entry]:
    """Take away the kernelspecs called ``names``, as far as they are ours. Raises SessionError."""
    mine, entries = ours(folder), []
    for name in names:
        if name not in mine:
            there = (folder.path / name).exists() and name not in (".", "..")
            entries.append(Entry(name, "foreign" if there else "gone"))
            continue
        try:
            (folder.path / name / "kernel.json").unlink()  # from now on nobody sees the rest
            shutil.rmtree(folder.path / name)
        except OSError as error:
            raise SessionError(f"cannot remove {folder.path / name}: {error.strerror or error}") from error
        entries.append(Entry(name, "removed", mine[name]))
    return entries


def _write(folder: Folder, name: str, wanted: Mapping[str, bytes], *, force: bool) -> State:
    path = folder.path / name
    if (path.is_symlink() or path.exists()) and not is_ours(_read(path)):
        if not force:
            return "foreign"
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)
    _make(path, folder.shared)
    state: State = "unchanged"
    # Without kernel.json the rest is no kernelspec: it comes last.
    for file in sorted(wanted, key=lambda file: file == "kernel.json"):
        if _differs(path / file, wanted[file]):
            mode = (0o755 if folder.shared else 0o700) if file.endswith(".sh") else 0o644 if folder.shared else 0o600
            private_files.write(path / file, wanted[file], mode)
            state = "written"
    return state


def _differs(path: Path, content: bytes) -> bool:
    try:
        return path.is_symlink() or path.read_bytes() != content
    except OSError:
        return True


def _make(path: Path, shared: bool) -> None:
    """Make ``path`` and its parents as far as they are missing, open to all when ``shared``, whatever the umask is."""
    if not path.exists():
        _make(path.parent, shared)
        path.mkdir(exist_ok=True)
        path.chmod(0o755 if shared else 0o700)


def _read(path: Path) -> dict[str, object]:
    """What the kernel.json in ``path`` holds; nothing where there is none, or no directory of its own."""
    try:
        spec = json.loads((path / "kernel.json").read_bytes()) if not path.is_symlink() else None
    except (OSError, ValueError):
        spec = None
    return spec if isinstance(spec, dict) else {}

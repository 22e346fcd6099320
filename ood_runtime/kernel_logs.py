"""The only place that reads from a session's logs which kernels have failed, and why.

A kernel's script (``scripts/kernel_log.sh.j2``) notes in the kernel's own log when it starts, and when it cannot. Of a
program that ends right after that, Jupyter tells in its log, when it has started it several times in vain.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_BYTES = 1 << 20  # of the end of a log
_LINES = 6  # of what a kernel said
_SAYS = re.compile(r"kernel (?P<file>\S+): (?P<what>starting |failed: )(?P<rest>.*)")
# jupyter_server 2.21, MappingKernelManager._handle_kernel_died
_DIED = re.compile(r"Kernel (?P<id>[0-9a-f-]{36}) died")


@dataclass(frozen=True)
class Failed:
    """A kernel that could not be started: what it ``said`` last, and its log."""

    name: str
    title: str
    said: tuple[str, ...]
    log: str


def failed(directory: Path, since: float = 0.0) -> list[Failed]:
    """The kernels of the session in ``directory`` whose last start has failed.

    ``since`` is when the session began, as Unix time: what an earlier one has said there does not count.
    """
    died = set(_DIED.findall(_end(directory / "logs" / "jupyter.log")))
    logs = [log for log in sorted((directory / "logs").glob("kernel-*.log")) if log.stat().st_mtime >= since]
    return [found for log in logs if (found := _last_start(log, died))]


def _last_start(log: Path, died: set[str]) -> Failed | None:
    title, identifier, broken = "", "", False
    said: list[str] = []
    for line in _end(log).splitlines():
        match = _SAYS.match(line)
        if match and match["what"] == "starting ":
            title, identifier, said, broken = match["rest"], match["file"], [], False
        elif match:
            broken = True
        elif line.strip():
            said.append(line.rstrip())
    if not broken and identifier.removeprefix("kernel-").removesuffix(".json") not in died:
        return None
    return Failed(log.stem.removeprefix("kernel-"), title, tuple(said[-_LINES:]), str(log))


def _end(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""

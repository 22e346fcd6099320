"""The only place that looks after event logs while their session lives: that they can be written, and their room.

Spark itself bounds neither. An application has a directory there, with a file that says how it stands and numbered
files of events, of which the last one is written (org.apache.spark.deploy.history.RollingEventLogFilesWriter).
"""

import re
import shutil
import tempfile
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ood_runtime.service import Answer

_APPLICATION = "eventlog_v2_*"
_EVENTS = re.compile(r"events_(\d+)_")


@dataclass(frozen=True)
class EventLogs:
    """Event logs can be written into ``directory``, and take at most ``limit`` bytes but for what is just written."""

    directory: Path
    limit: int

    def __call__(self, given_up: Collection[str]) -> Answer:
        """Look, and make room. Never in the way of a session: whatever is wrong is only told."""
        try:
            with tempfile.TemporaryFile(dir=self.directory) as file:
                file.write(b"\0" * 4096)
        except OSError as error:
            reason = error.strerror or error
            return Answer(True, notices=(f"no event logs can be written into {self.directory}: {reason}",))
        with suppress(OSError):
            return Answer(True, notices=tuple(make_room(self.directory, self.limit)))
        return Answer(True)  # an application went while we looked at it; the next look is soon enough


def make_room(directory: Path, limit: int) -> list[str]:
    """Bring what is in ``directory`` down to ``limit`` bytes, as far as can be; tells what was done.

    Applications that are over go first, the oldest first. Of those that run, what is neither the beginning nor the end
    is emptied: without a file for each number Spark would not read the rest. Raises OSError.
    """
    logs = sorted(filter(Path.is_dir, directory.glob(_APPLICATION)), key=lambda log: log.stat().st_mtime)
    excess = sum(map(_size, logs)) - limit
    told = []
    for log in filter(_is_over, logs):
        if excess > 0:
            excess -= _size(log)
            shutil.rmtree(log)
            told.append("event logs of applications that are over were removed, to keep to spark.event_logs.limit")
    for file in (file for log in logs if not _is_over(log) for file in _middle(log)):
        if excess > 0:
            excess -= file.stat().st_size
            with file.open("wb"):
                told.append("of a long event log the middle was emptied, to keep to spark.event_logs.limit")
    return list(dict.fromkeys(told))


def _is_over(log: Path) -> bool:
    return not any(log.glob("appstatus_*.inprogress"))


def _middle(log: Path) -> Iterable[Path]:
    numbered = ((int(found[1]), path) for path in log.iterdir() if (found := _EVENTS.match(path.name)))
    return [path for _, path in sorted(numbered)][1:-1]


def _size(log: Path) -> int:
    return sum(path.stat().st_size for path in log.iterdir())

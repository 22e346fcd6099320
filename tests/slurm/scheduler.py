"""The only place for what the tests' schedulers share: the machines they run on, and what users have left there."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.machines import Machines
from tests.support.accounts import Account, user_of_tests


@dataclass(frozen=True)
class Scheduler:
    """A scheduler that is up."""

    machines: Machines

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of its nodes."""
        return self.machines.nodes

    @property
    def directory(self) -> Path:
        """A directory of the user of the tests that all nodes see."""
        return self.machines.directory

    def left(self, user: Account | None = None) -> dict[str, dict[int, str]]:
        """What still runs as a user, by default that of the tests, on each machine: command lines by pid."""
        return self.machines.processes(user or user_of_tests())

    def kill_left(self) -> None:
        """Kill what a failed test left, so that it cannot disturb the next one."""
        for pid in [pid for found in self.left().values() for pid in found]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

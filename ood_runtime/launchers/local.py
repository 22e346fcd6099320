"""No scheduler: this machine is the one node, and what this process may use of it is what was given."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import limits
from ood_runtime.allocation import Allocation, Launch, Node, Task
from ood_runtime.settings import Settings


class Local:
    """This machine, with nobody to ask."""

    name = "local"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Always: what no scheduler claims is local."""
        return True

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """One node; its memory is what is free now, since others may work on it too."""
        given = limits.here(exclusive=False)
        node = Node(host=os.uname().nodename, cpus=given.cpus, memory=given.memory)
        return Allocation(launcher=self.name, job_id="", nodes=(node,), directory=directory)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """None: there is no other node."""
        return ()


LAUNCHER = Local()

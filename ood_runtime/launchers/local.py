"""No scheduler: this machine is the one node, and what this process may use of it is what was given."""

import os
from collections.abc import Mapping
from pathlib import Path

from ood_runtime import limits
from ood_runtime.allocation import Allocation, Node


class Local:
    """This machine, with nobody to ask."""

    name = "local"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Always: what no scheduler claims is local."""
        return True

    def allocation(self, environment: Mapping[str, str], directory: Path) -> Allocation:
        """One node; its memory is what is free now, since others may work on it too."""
        given = limits.here(exclusive=False)
        node = Node(host=os.uname().nodename, cpus=given.cpus, memory=given.memory)
        return Allocation(launcher=self.name, job_id="", nodes=(node,), directory=directory)


LAUNCHER = Local()

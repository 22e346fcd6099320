"""Flux, for the tests: a launcher in a package of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_runtime import host_lists, own_node
from ood_runtime.allocation import Allocation, Launch, Task
from ood_runtime.own_node import Told
from ood_runtime.settings import Settings


class Flux:
    """A job of Flux."""

    name = "flux"

    def detect(self, environment: Mapping[str, str]) -> bool:
        """Flux gives every job FLUX_JOB_ID."""
        return bool(environment.get("FLUX_JOB_ID"))

    def allocation(self, environment: Mapping[str, str], directory: Path, settings: Settings) -> Allocation:
        """The hosts of a list that the job script has made with `flux hostlist local`."""
        hosts = host_lists.expand(environment["FLUX_HOSTS"])
        own = host_lists.place_of(own_node.names(environment), hosts) or 0
        nodes = own_node.nodes([Told(host) for host in hosts], own)
        return Allocation(self.name, environment["FLUX_JOB_ID"], nodes, directory)

    def commands(
        self, allocation: Allocation, script: Path, tasks: Sequence[Task], environment: Mapping[str, str]
    ) -> tuple[Launch, ...]:
        """One `flux exec` for each task."""
        return tuple(
            Launch(("flux", "exec", "-r", str(task.node), "/bin/sh", str(script), str(task.rank)), (task.rank,))
            for task in tasks
        )


LAUNCHER = Flux()

"""Plays ``ood-runtime start``: a real session, with its guard, of two small programs instead of Jupyter and Spark.

Called like it, ``start APP --session-dir DIRECTORY``; $SMALL_SESSION says which script of ``SmallPlanner`` it plays,
or "slow": never ready; every other command is the real one.
"""

import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ood_runtime import guard, lifecycle
from ood_runtime.allocation import Allocation
from ood_runtime.cli import main
from ood_runtime.cli.group import report
from ood_runtime.errors import OodRuntimeError
from ood_runtime.plan import Directories, Grant, Outline, Place, Plan
from ood_runtime.progress import Progress
from ood_runtime.request import Request
from ood_runtime.service import Answer
from tests.unit.small_session import SmallPlanner


class _Planner(SmallPlanner):
    def plan(self, directories: Directories, grant: Grant) -> Plan:
        plan = super().plan(directories, grant)
        if self.script != "slow":
            return plan
        return replace(plan, services=tuple(replace(service, ready=_never) for service in plan.services))


def _never(pids: Collection[int]) -> Answer:
    return Answer(ready=False, detail="waiting")


def _start(directory: Path) -> int:
    outline = Outline(
        app="small",
        allocation=Allocation("local", "", (), directory),
        place=Place("localhost", "127.0.0.1"),
        session_directory=directory,
        scratch_base=directory.parent,
        port_names=("web",),
        port_range=(20000, 32767),
        secret_names={"password": "password"},
        stop_seconds=3.0,
    )
    request = Request("small", dict(os.environ), session_directory=directory)
    script = os.environ.get("SMALL_SESSION", "")

    def work(announce: guard.Announce) -> int:
        try:
            return lifecycle.run(_Planner(request, outline, script), request, announce, Progress())
        except OodRuntimeError as error:
            report(error)
            return error.exit_status

    return guard.run(work)


if __name__ == "__main__":
    if sys.argv[1:2] == ["start"]:
        name, directory = sys.argv[3:]
        assert name == "--session-dir", sys.argv
        sys.exit(_start(Path(directory)))
    main()

"""A service of a session that is under way, and the process that it has now."""

import subprocess
from dataclasses import dataclass

from ood_runtime.service import Service


@dataclass
class Running:
    """How a service stands. Times are those of the monotonic clock.

    It is started not before ``not_before`` and looked at from ``look_at`` on; ``let_go`` when it waits for no other.
    ``given_up`` when it has ended and is not started again, as it was ``restarts`` times.
    """

    service: Service
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    not_before: float = 0.0
    look_at: float = 0.0
    let_go: bool = False
    ready: bool = False
    given_up: bool = False
    restarts: int = 0
    detail: str = ""

    @property
    def settled(self) -> bool:
        """Whether there is nothing to be done for it as long as it does not end."""
        return self.ready or self.given_up

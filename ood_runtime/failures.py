"""Why a service failed, in words that a scientist can pass on to a help desk."""

import signal
from pathlib import Path

from ood_runtime import logs
from ood_runtime.errors import NotReadyError, ServiceDiedError
from ood_runtime.memory_kills import REMEDY
from ood_runtime.service import Check, Service


def not_ready(root: Path, service: Service | Check, detail: str) -> NotReadyError:
    """``service`` of the session in ``root`` took too long; ``detail`` is what its probe said last."""
    return NotReadyError(
        f"{service.name} was not ready after {service.ready_seconds:.0f} s: {detail}" + _last_lines(root, service),
        log=str(root / service.log),
        remedy="look at the log; a slow file system may need a larger timeouts.ready",
    )


def hopeless(root: Path, check: Check, reason: str) -> ServiceDiedError:
    """``check`` can never be met, for this ``reason``."""
    return ServiceDiedError(
        f"{check.name} cannot become ready: {reason}",
        log=str(root / "logs"),
        remedy="look at the logs; `ood-runtime doctor` checks this node",
    )


def died(root: Path, service: Service, status: int, memory: str = "") -> ServiceDiedError:
    """``service`` of the session in ``root`` ended with ``status``, which nobody had asked for.

    ``memory`` is what is known of memory that ran out.
    """
    how = f"signal SIGKILL: {memory}" if _killed(status) and memory else describe(status)
    return ServiceDiedError(
        f"{service.name} ended with {how}" + _last_lines(root, service),
        log=str(root / service.log),
        remedy=REMEDY if _killed(status) else "look at the log; `ood-runtime doctor` checks this node",
    )


def describe(status: int) -> str:
    """An exit status in words; a negative one is a signal, and 128 and more what a shell makes of one."""
    hint = " (killed: the kernel does this when memory runs out)" if _killed(status) else ""
    return f"exit status {status}{hint}" if status >= 0 else f"signal {signal.Signals(-status).name}{hint}"


def _killed(status: int) -> bool:
    return status in (-signal.SIGKILL, 128 + signal.SIGKILL)


def _last_lines(root: Path, service: Service | Check) -> str:
    return "".join(f"\n    | {line}" for line in logs.tail(root / service.log))

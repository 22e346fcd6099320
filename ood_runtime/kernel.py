"""What we ask of the Linux kernel about parents and children (prctl(2))."""

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parents die (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(sig: signal.Signals) -> None:
    """Ask the kernel for ``sig`` when the parent dies (PR_SET_PDEATHSIG); survives exec."""
    _prctl(_PR_SET_PDEATHSIG, int(sig))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl failed")

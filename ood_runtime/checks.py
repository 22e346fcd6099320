"""What is proven of several services together: before the session is ready, and as long as it lives."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ood_runtime import failures
from ood_runtime.service import Answer, Check
from ood_runtime.status import Status

_INCOMPLETE_SECONDS = 2.0  # between two looks while something is missing


@dataclass
class _State:
    """A check, and how it stands."""

    check: Check
    began: float | None = None
    look_at: float = 0.0
    ready: bool = False


class Checks:
    """The checks of a plan. ``root`` is the session's directory."""

    def __init__(self, checks: Iterable[Check], root: Path, status: Status) -> None:
        self._states = [_State(check) for check in checks]
        self._root = root
        self._status = status
        for state in self._states:
            status.service(state.check.name, "waiting", log=state.check.log)

    def all_ready(self) -> bool:
        """Whether everything essential is proven."""
        return all(state.ready for state in self._states if state.check.essential)

    def before(self, ready: Collection[str], given_up: Collection[str]) -> None:
        """Look at what is due, while the session starts; ``ready`` and ``given_up`` are names of services.

        Raises NotReadyError or ServiceDiedError when a check was not met in its time, or never can be.
        """
        for state in self._states:
            if state.check.essential and not state.ready and self._is_due(state, ready):
                answer = self._prove(state, given_up)
                if answer.hopeless:
                    raise failures.hopeless(self._root, state.check, answer.hopeless)
                if self._is_late(state):
                    raise failures.not_ready(self._root, state.check, answer.detail)

    def after(self, given_up: Collection[str]) -> None:
        """Look at what is due, while the session lives: whatever comes is told, and ends nothing."""
        for state in self._states:
            if time.monotonic() < state.look_at:
                continue
            if not (state.ready or state.check.essential):
                self._prove_or_tell(state, given_up)
            else:
                answer = self._look(state, given_up, state.check.again_seconds)
                if state.check.essential and not _complete(answer):
                    state.look_at = time.monotonic() + min(_INCOMPLETE_SECONDS, state.check.again_seconds)

    def look_soon(self) -> None:
        """Something has just ended: what was proven may no longer hold."""
        for state in self._states:
            state.look_at = 0.0

    def end(self) -> None:
        """Say that nothing is proven any more."""
        for state in self._states:
            self._status.service(state.check.name, "ended", detail="")

    def _prove(self, state: _State, given_up: Collection[str]) -> Answer:
        answer = self._look(state, given_up, state.check.probe_seconds)
        if answer.ready:
            self._proven(state, answer)
            self._tell(state, answer)
        return answer

    def _prove_or_tell(self, state: _State, given_up: Collection[str]) -> None:
        """The first looks at what the session has not waited for."""
        state.began = state.began or time.monotonic()
        answer = self._prove(state, given_up)
        if self._is_late(state):
            self._proven(state, answer)
            self._status.notice_once(f"{state.check.name}: {answer.detail}; see {state.check.log}")

    @staticmethod
    def _is_late(state: _State) -> bool:
        waited = 0.0 if state.began is None else time.monotonic() - state.began
        return not state.ready and waited > state.check.ready_seconds

    def _is_due(self, state: _State, ready: Collection[str]) -> bool:
        if state.began is None and set(state.check.after) <= set(ready):
            state.began = time.monotonic()
        return state.began is not None and time.monotonic() >= state.look_at

    def _look(self, state: _State, given_up: Collection[str], again: float) -> Answer:
        answer = state.check.ready(given_up)
        state.look_at = time.monotonic() + again
        for notice in answer.notices:
            self._status.notice_once(notice)
        if not answer.ready or state.ready:
            self._tell(state, answer)
        return answer

    def _proven(self, state: _State, answer: Answer) -> None:
        state.ready = True
        if not state.check.essential or _complete(answer):
            state.look_at = time.monotonic() + state.check.again_seconds

    def _tell(self, state: _State, answer: Answer) -> None:
        if answer.workers:
            workers = {"ready": answer.workers[0], "wanted": answer.workers[1], "each": answer.each}
            self._status.cluster(workers, answer.applications)
        self._status.service(state.check.name, "ready" if state.ready else "starting", detail=answer.detail)


def _complete(answer: Answer) -> bool:
    """Whether nothing is missing: a check may be met with fewer workers than there will be."""
    return answer.ready and (answer.workers is None or answer.workers[0] >= answer.workers[1])

"""The time limit of a trial, enforced by the process that runs it."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from search.trial.trial import Outcome, TrialState


class OvertimeError(BaseException):
    """The time limit was exceeded. No Exception, so that a trial does not catch it."""


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """The time limit of one trial, counted from creation; None is no limit."""

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Return whether the time limit is exceeded."""
        return self.seconds is not None and time.monotonic() - self.begun >= self.seconds

    @contextlib.contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise OvertimeError inside the block when the limit is exceeded.

        Works only in the main thread and between Python instructions: a native call that does
        not return is not interrupted. A timer set before the block is restored after it.
        """
        is_main = threading.current_thread() is threading.main_thread()
        if self.seconds is None or not is_main or not hasattr(signal, "setitimer"):
            yield
            return
        left_s = max(self.begun + self.seconds - time.monotonic(), 1e-3)
        usual = signal.signal(signal.SIGALRM, _raise)
        others_s, _ = signal.setitimer(signal.ITIMER_REAL, left_s)
        set_at = time.monotonic()
        try:
            yield
        finally:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            finally:  # the alarm may arrive here
                signal.signal(signal.SIGALRM, usual)
                rest_s = others_s and max(others_s - (time.monotonic() - set_at), 1e-3)
                signal.setitimer(signal.ITIMER_REAL, rest_s)


def _raise(number: int, frame: object) -> None:
    raise OvertimeError


def overtime(seconds: float) -> Outcome:
    """Return the outcome of a trial that exceeded its time limit."""
    return Outcome(
        state=TrialState.PRUNED,
        reason=f"took longer than budget.trial_minutes ({seconds / 60:g})",
    )

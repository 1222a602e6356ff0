"""A limit on the time of a trial: what a process can do about itself when it is over."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from search.trial.trial import Outcome, TrialState


class OvertimeError(BaseException):
    """The time is over. No Exception, so that no trial takes it for a fault of its own."""


@dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """The time of one trial, from when this was made; None is no limit."""

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether the trial has had its time."""
        return self.seconds is not None and time.monotonic() - self.begun >= self.seconds

    @contextlib.contextmanager
    def enforced(self) -> Iterator[None]:
        """Raises OvertimeError from what runs meanwhile, at the end of the time.

        Only in the main thread, and when Python is next run: a call into native code
        that does not return is not ended. An alarm that others have set is set again.
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
            finally:  # the alarm may come just now
                signal.signal(signal.SIGALRM, usual)
                rest_s = others_s and max(others_s - (time.monotonic() - set_at), 1e-3)
                signal.setitimer(signal.ITIMER_REAL, rest_s)


def _raise(number: int, frame: object) -> None:
    raise OvertimeError


def overtime(seconds: float) -> Outcome:
    """What becomes of a trial whose time is over."""
    return Outcome(
        state=TrialState.PRUNED,
        reason=f"took longer than budget.trial_minutes ({seconds / 60:g})",
    )

"""The common part of a search and a confirmation: lease, messages, stop requests, failures."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import ClassVar

from search.runners.lease import Lease
from search.runners.progress import Progress, Silent
from search.store.retry import waiting_for
from search.store.store import Store
from search.study.study import Study
from search.text import log
from search.text.artifacts import ArtifactFile
from search.trial.trial import Outcome, TrialState
from search.worker.job import Continuation, Job

MAX_FAILURES = 20  # failures in a row that end a run
POLL_S = 1.0  # between two checks for a stop request


class LeasedRun:
    """Holds the lease of a study, and counts what jobs of this run gave."""

    log: ClassVar[logging.Logger]

    def __init__(
        self,
        study: Study,
        store: Store,
        *,
        progress: Progress | None,
        holder: str | None,
        run_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.stopped = ""  # why there are no more jobs, as a sentence
        self.finished_here: Counter[TrialState] = Counter()
        self.training_s = self.evaluation_s = 0.0
        self.interrupted = threading.Event()  # by Ctrl-C under Ray
        self._study, self._store = study, store
        self._display = progress or Silent()
        self._lease = Lease(store, study.name, holder=holder, run_s=run_s)
        self._exit = ExitStack()
        self._noted: set[str] = set()  # notes that were shown
        self._failures = 0  # in a row
        self._polled = time.monotonic() - POLL_S
        self._is_halted = False

    def _take_lease(self, stack: ExitStack) -> None:
        """Take the lease until `stack` closes; meanwhile wait for a store that does not respond."""
        waiting = waiting_for(self._store, say=self.warn, interrupted=self.interrupted)
        stack.enter_context(waiting)
        stack.enter_context(self._lease)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def should_halt(self) -> bool:
        """Return whether a stop was requested. Cheap enough to be called often.

        Raises LeaseLostError if another driver has taken the study.
        """
        self._lease.check()
        now = time.monotonic()
        if now - self._polled >= POLL_S:
            self._polled = now
            self._is_halted = self._store.stop_requested(self._study.name)
        if self._is_halted:
            self.stopped = "a stop was requested"
        return self._is_halted

    def say(self, text: str) -> None:
        """Show a message."""
        self._say(text, logging.INFO)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._say(text, logging.WARNING)

    def _say(self, text: str, level: int) -> None:
        self._display.say(text)
        self.log.log(level, text, extra=log.SHOWN)

    def _say_continued(self, title: str, number: int | None, continuation: Continuation) -> None:
        """Show and store that a job continues from its checkpoint, or why it cannot."""
        is_anew = not continuation.measurements
        kind, say = ("anew", self.warn) if is_anew else ("continued", self.say)
        self._store.add_event(self._study.name, kind, continuation.line, trial=number)
        say(f"{title}  {continuation.line}")

    def _remove_checkpoint(self, job: Job) -> None:
        """Remove the checkpoint of a job that has ended."""
        if job.checkpoint is not None:
            with suppress(OSError):
                ArtifactFile(uri=job.checkpoint).remove()

    def _new_notes(self, notes: Sequence[str]) -> list[str]:
        """Return the notes that no job of this run had before."""
        new = [note for note in dict.fromkeys(notes) if note not in self._noted]
        self._noted.update(new)
        return new

    def _add_result(self, outcome: Outcome) -> int:
        """Count an outcome; returns the level of its record in the log."""
        has_failed = outcome.state is TrialState.FAILED
        self.finished_here[outcome.state] += 1
        self.training_s += outcome.timings.training_s
        self.evaluation_s += outcome.timings.evaluation_s
        self._failures = self._failures + 1 if has_failed else 0
        return logging.WARNING if has_failed else logging.INFO

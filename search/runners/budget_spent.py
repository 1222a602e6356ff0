"""What a study has spent of its budget, and how long the rest will take."""

import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Iterable

from search.runners.progress import RunningTrial, StudyProgress
from search.study.study import Budget
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import Measurement


class BudgetSpent:
    """Trials, epochs and hours of a study so far, those of earlier drivers included.

    Every trial that ran or runs counts as one of `trials`, also a failed one.
    `epochs` are those trained; while running trials are about to train the rest,
    none begins beside them. Epochs of blocks that were trained before cost nothing.
    `hours` are those in which at least one trial ran, and those since this driver
    started: they need no bookkeeping that a killed driver could leave wrong. The
    budget is looked at before a trial starts; what runs then runs to its end.
    """

    def __init__(self, budget: Budget, earlier: Iterable[Trial]) -> None:
        self._budget = budget
        trials = [trial for trial in earlier if trial.state.is_finished]
        self._counts = Counter(trial.state for trial in trials)
        self.epochs_done = sum(trial.epochs_done for trial in trials)
        self._running: dict[int, RunningTrial] = {}
        self._earlier_s = busy_seconds(trials)
        self._started = time.monotonic()
        self._first_start: float | None = None  # of a trial here: Ray's start is no measure of pace
        self._finished_here = 0
        self._epochs_here = 0
        self.reused_here = 0

    def start(self, number: int, epochs_total: int) -> None:
        """Trial `number` begins."""
        self._first_start = self._first_start or time.monotonic()
        self._running[number] = RunningTrial(number=number, epochs_total=epochs_total)

    def measure(self, number: int, measurement: Measurement) -> None:
        """Trial `number` has trained an epoch."""
        trial = self._running[number]
        self._running[number] = dataclasses.replace(trial, measurement=measurement)

    def has_trained(self, number: int) -> bool:
        """Whether running trial `number` has told of an epoch."""
        return self._running[number].measurement is not None

    def finish(self, number: int, state: TrialState) -> None:
        """Trial `number` has ended."""
        trial = self._running.pop(number)
        epochs = trial.epochs_trained
        self.reused_here += trial.epochs_done - epochs
        self._counts[state] += 1
        self.epochs_done += epochs
        self._finished_here += 1
        self._epochs_here += epochs

    def progress(
        self,
        study: str,
        *,
        front_size: int,
        hypervolume: float | None,
        best_accuracy: float | None,
    ) -> StudyProgress:
        """Where the study stands, with what others know of its front."""
        return StudyProgress(
            study=study,
            counts={**self._counts, TrialState.RUNNING: len(self._running)},
            running=tuple(self._running.values()),
            trials_asked=self._budget.trials,
            epochs_done=self.epochs_done,
            front_size=front_size,
            hypervolume=hypervolume,
            best_accuracy=best_accuracy,
            elapsed_s=self.elapsed_s,
            left_s=self.left_s(),
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since this driver started."""
        return time.monotonic() - self._started

    @property
    def is_promised(self) -> bool:
        """Whether the trials that run will use up the epochs, unless they end early."""
        epochs = self.epochs_done + sum(t.epochs_asked for t in self._running.values())
        return self._budget.epochs is not None and epochs >= self._budget.epochs

    def spent(self) -> str:
        """Which part of the budget is used up, as a sentence; empty while none is."""
        budget = self._budget
        trials = self._counts.total() + len(self._running)
        if budget.trials is not None and trials >= budget.trials:
            return f"all {budget.trials} trials of the budget were run"
        epochs = self.epochs_done + sum(t.epochs_trained for t in self._running.values())
        if budget.epochs is not None and epochs >= budget.epochs:
            return f"all {budget.epochs} epochs of the budget were trained"
        if budget.hours is not None and self._hours() >= budget.hours:
            return f"all {budget.hours:g} hours of the budget have passed"
        return ""

    def left_s(self) -> float | None:
        """Seconds until the first part of the budget is used up, at the pace of this driver."""
        budget = self._budget
        under_way = sum(t.epochs_done / max(1, t.epochs_total) for t in self._running.values())
        epochs = sum(t.epochs_trained for t in self._running.values())
        estimates = []
        if budget.trials is not None:
            done = self._counts.total() + under_way
            estimates.append(self._time(budget.trials - done, self._finished_here + under_way))
        if budget.epochs is not None:
            done = self.epochs_done + epochs
            estimates.append(self._time(budget.epochs - done, self._epochs_here + epochs))
        if budget.hours is not None:
            estimates.append(max(0.0, (budget.hours - self._hours()) * 3600))
        return min((e for e in estimates if e is not None), default=None)

    def _time(self, units_left: float, units_done_here: float) -> float | None:
        if units_done_here <= 0 or self._first_start is None:
            return None
        return max(0.0, units_left) * (time.monotonic() - self._first_start) / units_done_here

    def _hours(self) -> float:
        return (self._earlier_s + self.elapsed_s) / 3600


def busy_seconds(trials: Iterable[Trial]) -> float:
    """Seconds in which at least one of `trials` was running."""
    spans = sorted(
        (trial.started_at, trial.finished_at)
        for trial in trials
        if trial.started_at is not None and trial.finished_at is not None
    )
    total, until = 0.0, datetime.datetime.min.replace(tzinfo=datetime.UTC)
    for start, end in spans:
        total += max(0.0, (end - max(start, until)).total_seconds())
        until = max(until, end)
    return total

"""The used part of a budget, and an estimate of the remaining time."""

import dataclasses
import datetime
import time
from collections import Counter
from collections.abc import Iterable

from search.runners.progress import RunningTrial, StudyProgress
from search.study.study import Budget
from search.trial.trial import Trial, TrialState
from snn.settings.measurement import Measurement, Metrics
from snn.settings.setting import all_of, counted


class BudgetSpent:
    """The part of a budget that a study has used, in this run and in earlier ones.

    Every trial that was started counts as one of `trials`, also a failed one. `epochs` are
    trained epochs, those of interrupted attempts included; reused epochs cost nothing. No trial
    starts while the running ones may use up the epochs. `hours` are the hours of runs, by a
    clock that stops while the machine sleeps and is never set; each run stores them with its
    lease (`run_s`). Runs of earlier versions stored none: then the times of trials count. The
    budget is checked before a trial starts; a running trial is not interrupted.
    """

    def __init__(
        self,
        budget: Budget,
        earlier: Iterable[Trial],
        *,
        run_s: float | None = None,
        lost_epochs: int = 0,
    ) -> None:
        self._budget = budget
        trials = [trial for trial in earlier if trial.state.is_finished]
        self._counts = Counter(trial.state for trial in trials)
        self.epochs_done = sum(trial.epochs_done for trial in trials)
        self._running: dict[int, RunningTrial] = {}
        self._lost_epochs = lost_epochs
        self._earlier_s = busy_seconds(trials) if run_s is None else run_s
        self._started = time.monotonic()
        self._first_start: float | None = None  # of a trial, after the start of Ray
        self._finished_here = 0
        self._epochs_here = 0
        self.reused_here = 0

    def start(self, number: int, epochs_total: int) -> None:
        """Count trial `number` as running."""
        self._first_start = self._first_start or time.monotonic()
        self._running[number] = RunningTrial(number=number, epochs_total=epochs_total)

    def measure(self, number: int, measurement: Measurement) -> None:
        """Count an epoch of running trial `number`."""
        trial = self._running[number]
        self._running[number] = dataclasses.replace(trial, measurement=measurement)

    def lose(self, number: int) -> None:
        """Start trial `number` again; the epochs that its lost attempt trained stay counted."""
        trial = self._running[number]
        self._lost_epochs += trial.epochs_trained
        self._running[number] = dataclasses.replace(trial, measurement=None)

    def regain(self, number: int, measurement: Measurement) -> None:
        """Count the epochs until a checkpoint for the trial that continues from it, as not lost."""
        self._lost_epochs = max(0, self._lost_epochs - measurement.epochs_trained)
        self.measure(number, measurement)

    def has_trained(self, number: int) -> bool:
        """Return whether running trial `number` has a measurement."""
        return self._running[number].measurement is not None

    def finish(self, number: int, state: TrialState) -> None:
        """Count trial `number` as finished in `state`."""
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
        metrics: Metrics,
        objectives: tuple[str, ...],
    ) -> StudyProgress:
        """Return the progress of the study, with the given figures of its front."""
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
            metrics=metrics,
            objectives=objectives,
        )

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since this driver started."""
        return time.monotonic() - self._started

    @property
    def is_promised(self) -> bool:
        """Return whether the running trials will use up the epochs unless they end early."""
        epochs = self._epochs + sum(t.epochs_asked for t in self._running.values())
        return self._budget.epochs is not None and epochs >= self._budget.epochs

    def spent(self) -> str:
        """Return which part of the budget is used up, as a sentence; empty if none."""
        budget = self._budget
        trials = self._counts.total() + len(self._running)
        if budget.trials is not None and trials >= budget.trials:
            return _spent(budget.trials, "trial", "run")
        epochs = self._epochs + sum(t.epochs_trained for t in self._running.values())
        if budget.epochs is not None and epochs >= budget.epochs:
            return _spent(budget.epochs, "epoch", "trained")
        if budget.hours is not None and self._hours() >= budget.hours:
            return f"the time of the budget is over: {counted(budget.hours, 'hour')}"
        return ""

    def left_s(self) -> float | None:
        """Return the estimated seconds until a part of the budget is used up, or None."""
        budget = self._budget
        # the epochs of an own training may be unknown
        known = [t for t in self._running.values() if t.epochs_total]
        unfinished = sum(t.epochs_done / t.epochs_total for t in known)
        epochs = sum(t.epochs_trained for t in self._running.values())
        estimates = []
        if budget.trials is not None:
            done = self._counts.total() + unfinished
            estimates.append(self._time(budget.trials - done, self._finished_here + unfinished))
        if budget.epochs is not None:
            done = self._epochs + epochs
            estimates.append(self._time(budget.epochs - done, self._epochs_here + epochs))
        if budget.hours is not None:
            estimates.append(max(0.0, (budget.hours - self._hours()) * 3600))
        return min((e for e in estimates if e is not None), default=None)

    def _time(self, units_left: float, units_done_here: float) -> float | None:
        if units_done_here <= 0 or self._first_start is None:
            return None
        return max(0.0, units_left) * (time.monotonic() - self._first_start) / units_done_here

    @property
    def _epochs(self) -> int:
        return self.epochs_done + self._lost_epochs

    @property
    def run_s(self) -> float:
        """Return the seconds of all runs, this one included."""
        return self._earlier_s + self.elapsed_s

    def _hours(self) -> float:
        return self.run_s / 3600


def busy_seconds(trials: Iterable[Trial]) -> float:
    """Return the seconds in which at least one of `trials` ran, by the clock of the time of day."""
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


def _spent(count: int, noun: str, done: str) -> str:
    return f"{all_of(count, noun)} of the budget {'was' if count == 1 else 'were'} {done}"

"""What people see while a study runs: where it stands, and a line per finished trial."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TextIO, runtime_checkable

from search.text.units import duration, figure
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import Measurement


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A trial at work, as far as is known."""

    number: int
    epochs_total: int
    measurement: Measurement | None = None  # the latest

    @property
    def epochs_done(self) -> int:
        """Epochs over all blocks, of this attempt, those of reused blocks included."""
        return self.measurement.epochs_done if self.measurement else 0

    @property
    def epochs_trained(self) -> int:
        """Of these, the ones that were trained now."""
        return self.measurement.epochs_trained if self.measurement else 0

    @property
    def epochs_asked(self) -> int:
        """Epochs that it trains in all, as far as is known."""
        reused = self.measurement.epochs_reused if self.measurement else 0
        return max(0, self.epochs_total - reused)


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """Where a study stands, everything of earlier drivers included."""

    study: str
    counts: Mapping[TrialState, int]
    running: tuple[RunningTrial, ...]
    trials_asked: int | None
    epochs_done: int
    front_size: int | None  # None where no front is being made
    hypervolume: float | None  # fraction; None before anything is on the front
    best_accuracy: float | None
    elapsed_s: float  # of this driver
    left_s: float | None  # an estimate; None while there is nothing to estimate from
    noun: str = "trials"  # what is counted

    @property
    def finished(self) -> int:
        """Trials to which nothing more will happen."""
        return sum(n for state, n in self.counts.items() if state.is_finished)


@runtime_checkable
class Progress(Protocol):
    """Shows how a study gets on. Called by the driver, often: must return at once."""

    def update(self, progress: StudyProgress) -> None:
        """Something changed."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """A trial came to its end."""

    def say(self, text: str) -> None:
        """Something that people should know, one line."""


class Silent:
    """Shows nothing."""

    def update(self, progress: StudyProgress) -> None:
        """Nothing."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""


class Lines:
    """One plain line per finished trial, for files, pipes and terminals that cannot redraw."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def update(self, progress: StudyProgress) -> None:
        """Nothing: epochs are not worth a line."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """The trial, what came of it, and where the study stands."""
        self.say(f"{trial_line(number, outcome)}  [{progress_line(progress)}]")

    def say(self, text: str) -> None:
        """The text on a line of its own."""
        print(text, file=self._stream, flush=True)


def trial_line(number: int, outcome: Outcome) -> str:
    """What came of a trial, in a line: its main figures, or why it ended."""
    parts = [f"trial {number}", outcome.state.value]
    if outcome.evaluation is not None:
        metrics = outcome.evaluation.sampled.metrics
        parts.append(f"accuracy {figure('accuracy', metrics['accuracy'])}")
        parts.append(figure("synaptic_ops", metrics["synaptic_ops"]))
    if outcome.reused_trial is not None:
        parts.append(f"trained as trial {outcome.reused_trial}")
    elif outcome.timings.training_s:
        parts.append(f"trained {duration(outcome.timings.training_s)}")
    if outcome.reason:
        parts.append(outcome.reason)
    return "  ".join(parts)


def progress_line(progress: StudyProgress) -> str:
    """Where a study stands, in a line."""
    asked = "" if progress.trials_asked is None else f"/{progress.trials_asked}"
    parts = [f"{progress.finished}{asked} {progress.noun}"]
    if progress.front_size is not None:
        parts.append(f"front {progress.front_size}")
    if progress.hypervolume is not None:
        parts.append(f"hypervolume {progress.hypervolume:.3f}")
    if progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)

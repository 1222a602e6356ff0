"""The progress of a run, and its display as one line per finished trial."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO, runtime_checkable

from search.text.units import done_of, duration, figure
from search.trial.trial import Outcome, TrialState
from snn.settings.measurement import METRICS, Measurement, Metrics


@dataclass(frozen=True, kw_only=True)
class RunningTrial:
    """A running trial."""

    number: int
    epochs_total: int
    measurement: Measurement | None = None  # the latest

    @property
    def epochs_done(self) -> int:
        """Return the epochs of this attempt over all blocks, those of reused blocks included."""
        return self.measurement.epochs_done if self.measurement else 0

    @property
    def epochs_trained(self) -> int:
        """Return the epochs trained in this attempt."""
        return self.measurement.epochs_trained if self.measurement else 0

    @property
    def epochs_asked(self) -> int:
        """Return the total of epochs to train, without those known to be reused."""
        reused = self.measurement.epochs_reused if self.measurement else 0
        return max(0, self.epochs_total - reused)


@dataclass(frozen=True, kw_only=True)
class StudyProgress:
    """The progress of a study, earlier runs included."""

    study: str
    counts: Mapping[TrialState, int]
    running: tuple[RunningTrial, ...]
    trials_asked: int | None
    epochs_done: int
    front_size: int | None  # None for a confirmation
    hypervolume: float | None  # 0 to 1; None without a front
    best_accuracy: float | None
    elapsed_s: float  # since this driver started
    left_s: float | None  # estimate; None before the first epoch
    noun: str = "trial"  # in the display
    metrics: Metrics = field(default_factory=lambda: METRICS)  # of the study, for their units
    objectives: tuple[str, ...] = ("accuracy", "synaptic_ops")

    @property
    def finished(self) -> int:
        """Return the number of finished trials."""
        return sum(n for state, n in self.counts.items() if state.is_finished)


@runtime_checkable
class Progress(Protocol):
    """Shows the progress of a run. Methods are called often and must return at once."""

    def update(self, progress: StudyProgress) -> None:
        """Show changed progress."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Show a finished trial."""

    def say(self, text: str) -> None:
        """Show a message of one line."""


class Silent:
    """Shows nothing."""

    def update(self, progress: StudyProgress) -> None:
        """Do nothing."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""


class Lines:
    """Prints one line per finished trial, for files, pipes and simple terminals."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def update(self, progress: StudyProgress) -> None:
        """Do nothing: epochs get no line."""

    def finished(self, number: int, outcome: Outcome, progress: StudyProgress) -> None:
        """Print the trial, its result and the progress of the study."""
        line = trial_line(number, outcome, progress.objectives, progress.metrics)
        self.say(f"{line}  [{progress_line(progress)}]")

    def say(self, text: str) -> None:
        """Print the text on a line of its own."""
        print(text, file=self._stream, flush=True)


def trial_line(
    number: int, outcome: Outcome, objectives: Sequence[str], declared: Metrics = METRICS
) -> str:
    """Return the objectives of a trial, or why it ended, in one line."""
    parts = [f"trial {number}", outcome.state.value]
    if outcome.evaluation is not None:
        metrics = outcome.evaluation.sampled.metrics
        for name in objectives:
            if name in metrics:
                value = figure(name, metrics[name], declared)
                parts.append(value if name == "synaptic_ops" else f"{name} {value}")
    if outcome.reused_trial is not None:
        parts.append(f"same training as trial {outcome.reused_trial}")
    elif outcome.timings.training_s:
        parts.append(f"trained {duration(outcome.timings.training_s)}")
    if outcome.reason:
        parts.append(outcome.reason)
    return "  ".join(parts)


def progress_line(progress: StudyProgress) -> str:
    """Return the progress of a study in one line."""
    parts = [done_of(progress.finished, progress.trials_asked, progress.noun, sign="/")]
    if progress.front_size is not None:
        parts.append(f"front {progress.front_size}")
    if progress.hypervolume is not None:
        parts.append(f"hypervolume {progress.hypervolume:.3f}")
    if progress.left_s is not None:
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)

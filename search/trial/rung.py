"""What is measured of a trial at a rung: on the way, while it waits to hear whether it goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.trial.trial import Timings


@dataclass(frozen=True, kw_only=True)
class RungPoint:
    """An operating point of a network that is judged: its objectives and constrained metrics."""

    metrics: Mapping[str, float]
    is_sampled: bool = True


@dataclass(frozen=True, kw_only=True)
class RungReport:
    """What was measured of a trial at a rung."""

    rung: int  # from 1
    epochs_done: int
    epochs_total: int
    points: tuple[RungPoint, ...]
    timings: Timings = field(default_factory=Timings)  # of the trial so far; not stored
    notes: tuple[str, ...] = ()  # as in Outcome; not stored

    @property
    def fraction(self) -> float:
        """How much of its training the trial has behind it."""
        return self.epochs_done / self.epochs_total

    @property
    def sampled(self) -> RungPoint:
        """The operating point that the run config asked for."""
        return next(point for point in self.points if point.is_sampled)

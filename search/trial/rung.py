"""Measurements of a trial at a rung, on which early stopping decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.trial.trial import Timings


@dataclass(frozen=True, kw_only=True)
class RungPoint:
    """The objectives and constrained metrics of an operating point at a rung."""

    metrics: Mapping[str, float]
    is_sampled: bool = True


@dataclass(frozen=True, kw_only=True)
class RungReport:
    """The measurements of one trial at one rung."""

    rung: int  # from 1
    epochs_done: int
    epochs_total: int
    points: tuple[RungPoint, ...]
    timings: Timings = field(default_factory=Timings)  # of the trial so far; not stored
    notes: tuple[str, ...] = ()  # as in Outcome; not stored

    @property
    def fraction(self) -> float:
        """Fraction of its training that the trial has done."""
        return self.epochs_done / self.epochs_total

    @property
    def sampled(self) -> RungPoint:
        """The operating point of the run config."""
        return next(point for point in self.points if point.is_sampled)

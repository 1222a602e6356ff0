"""Equal operating points of equal trainings, shown once; loads no numpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

from snn.settings.measurement import OperatingPoint

SAME_DIGITS = 9  # significant digits in which equal figures agree; sums differ in the last ones


@runtime_checkable
class HasPoint(Protocol):
    """An operating point and its trial: FrontPoint, or a row of the store."""

    @property
    def trial(self) -> int:
        """Number of the trial."""
        ...

    @property
    def point(self) -> OperatingPoint:
        """The operating point with its metrics."""
        ...


@runtime_checkable
class HasTraining(HasPoint, Protocol):
    """An operating point that knows which training its weights come from."""

    @property
    def training(self) -> str | None:
        """Fingerprint of the training; None where it is unknown."""
        ...


T = TypeVar("T", bound=HasTraining)


@dataclass(frozen=True, kw_only=True)
class MergedPoint(Generic[T]):
    """An operating point that several trials share."""

    point: T  # of the trial with the lowest number
    trials: tuple[int, ...]  # all trials that have it, ascending


def merge_equal(points: Sequence[T]) -> list[MergedPoint[T]]:
    """Merge equal operating points of equal trainings; in the order of their first members.

    Trials whose settings differ only in what is not trained share one training,
    so that the same operating points are found in each of them. Points are equal if they
    have the same training, timesteps, blocks and metrics (all but `training_s`).
    A point of an unknown training is equal to none. Tables, figures and
    exports show merged points; the SQL view `pareto_front` keeps one row for each trial.
    """
    groups: dict[object, list[T]] = {}
    for place, point in enumerate(points):
        key = place if point.training is None else (point.training, *_figures(point.point))
        groups.setdefault(key, []).append(point)
    return [
        MergedPoint(
            point=min(group, key=lambda point: point.trial),
            trials=tuple(sorted({point.trial for point in group})),
        )
        for group in groups.values()
    ]


def _figures(point: OperatingPoint) -> tuple[object, ...]:
    figures = (
        f"{value:.{SAME_DIGITS}g}"
        for name, value in sorted(point.metrics.items())
        if name != "training_s"
    )
    return (point.timesteps, point.blocks, *figures)

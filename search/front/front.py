"""Pareto domination and fronts of operating points.

The only definition of domination: the store, the commands and the dashboard use it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from search.study.tables import Bound
from snn.settings.measurement import METRICS, Metrics, OperatingPoint

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

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


P = TypeVar("P", bound=HasPoint)
T = TypeVar("T", bound=HasTraining)


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether `first` is nowhere worse and somewhere better; lower is better."""
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_mask(values: Floats) -> Mask:
    """Return which rows of `values` (points x objectives, minimised) no other row dominates.

    Equal rows do not dominate each other. A row with NaN or infinity is never
    on the front and dominates nothing.
    """
    import moocore

    values = np.asarray(values, dtype=np.float64)
    mask: Mask = np.logical_and.reduce(np.isfinite(values), axis=1)
    if values.shape[1] and mask.any():
        mask[mask] = moocore.is_nondominated(values[mask], keep_weakly=True)
    return mask


def pareto_ranks(values: Floats) -> NDArray[np.int64]:
    """Return the front of each row of `values` by non-dominated sorting, from 0. All are finite."""
    import moocore

    return np.asarray(moocore.pareto_rank(values), dtype=np.int64)


def minimised(
    points: Sequence[HasPoint], objectives: Sequence[str], metrics: Metrics = METRICS
) -> Floats:
    """Return the objectives as rows (points x objectives), minimised; missing ones are NaN.

    `metrics` declares them: those of the study where it has own ones.
    """
    rows = [
        [metrics[name].sign * p.point.metrics.get(name, math.nan) for name in objectives]
        for p in points
    ]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(objectives))


def front_of(
    points: Sequence[P],
    objectives: Sequence[str],
    constraints: Mapping[str, Bound] | None = None,
    metrics: Metrics = METRICS,
) -> list[P]:
    """Return the points that no other dominates, of those within the constraints, in order."""
    feasible = within(points, constraints or {})
    mask = pareto_mask(minimised(feasible, objectives, metrics))
    return [p for p, is_kept in zip(feasible, mask.tolist(), strict=True) if is_kept]


def within(points: Sequence[P], constraints: Mapping[str, Bound]) -> list[P]:
    """Return the points that violate no constraint, in order."""
    bounds = constraints.items()
    return [
        p
        for p in points
        if all(bound.violation(p.point.metrics.get(name, math.nan)) == 0 for name, bound in bounds)
    ]


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

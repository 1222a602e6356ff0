"""Pareto domination and fronts of operating points.

The only definition of domination: the store, the commands and the dashboard use it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from search.front.merged import HasPoint
from search.study.tables import Bound
from snn.settings.measurement import METRICS, Metrics

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

P = TypeVar("P", bound=HasPoint)


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

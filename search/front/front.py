"""Fronts: the operating points that no other dominates, how good they are, which to take.

The one definition of domination; the store, the commands and the dashboard all ask here.
"""

import bisect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from search.front.hypervolume import hypervolume
from search.study.tables import Bound
from snn.settings.config import nearest
from snn.settings.measurement import METRICS, OperatingPoint

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_FIRST_TRIALS = 10  # the worst of these is the reference
_CHUNK = 512  # rows compared at once


@runtime_checkable
class HasPoint(Protocol):
    """An operating point and the trial that it belongs to: FrontPoint, or a row of the store."""

    @property
    def trial(self) -> int:
        """Its trial's number."""
        ...

    @property
    def point(self) -> OperatingPoint:
        """What was measured."""
        ...


P = TypeVar("P", bound=HasPoint)


__all__ = [
    "HasPoint",
    "PickError",
    "dominates",
    "front_of",
    "hypervolume",
    "ideal",
    "in_box",
    "knee",
    "knee_row",
    "minimised",
    "normalised_hypervolume",
    "pareto_mask",
    "pick",
    "reference_point",
    "within",
]


class PickError(ValueError):
    """A pick that cannot be read, or that no point answers."""


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether `first` is nowhere worse and somewhere better; lower is better."""
    pairs = list(zip(first, second, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def pareto_mask(values: Floats) -> Mask:
    """Which rows of `values` (points x objectives, minimised) no other row dominates.

    Rows that are equal do not dominate each other. A row with NaN or infinity
    is never on the front and dominates nothing.
    """
    values = np.asarray(values, dtype=np.float64)
    mask: Mask = np.logical_and.reduce(np.isfinite(values), axis=1)
    if values.shape[1] == 0 or not mask.any():
        return mask
    # Minus zero would be sorted apart from zero.
    rows, place = np.unique(values[mask] + 0.0, axis=0, return_inverse=True)
    mask[mask] = _front_of_sorted(rows)[place.reshape(-1)]
    return mask


def _front_of_sorted(rows: Floats) -> Mask:
    """The mask for different rows in lexicographic order: whoever dominates comes first."""
    if rows.shape[1] == 1:
        return np.arange(len(rows)) < 1
    if rows.shape[1] == 2:
        before = np.minimum.accumulate(np.concatenate([[math.inf], rows[:-1, 1]]))
        falls: Mask = rows[:, 1] < before
        return falls
    if rows.shape[1] == 3:
        return _front_of_three(rows)
    return _front_by_chunks(rows)


def _front_of_three(rows: Floats) -> Mask:
    """A sweep along the first objective that keeps the front of the other two as a staircase."""
    mask = np.zeros(len(rows), dtype=np.bool_)
    seconds: list[float] = []  # rising
    thirds: list[float] = []  # falling
    for row, (second, third) in enumerate(rows[:, 1:].tolist()):
        place = bisect.bisect_right(seconds, second)
        if place > 0 and thirds[place - 1] <= third:
            continue
        mask[row] = True
        begin = bisect.bisect_left(seconds, second)
        end = begin
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        seconds[begin:end] = [second]
        thirds[begin:end] = [third]
    return mask


def _front_by_chunks(rows: Floats) -> Mask:
    mask = np.zeros(len(rows), dtype=np.bool_)
    front = rows[:0]
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        kept = np.arange(start, start + len(chunk))
        for begin in range(0, len(front), _CHUNK):
            survives = ~_is_covered(rows[kept], front[begin : begin + _CHUNK])
            kept = kept[survives]
        # A row covers itself, and no other row is equal to it.
        kept = kept[(rows[kept][None, :, :] <= rows[kept][:, None, :]).all(axis=2).sum(axis=1) == 1]
        mask[kept] = True
        front = np.concatenate([front, rows[kept]])
    return mask


def _is_covered(rows: Floats, by: Floats) -> Mask:
    """Which of `rows` some row of `by` is nowhere worse than."""
    covered = np.ones((len(rows), len(by)), dtype=np.bool_)
    for objective in range(rows.shape[1]):
        covered &= by[None, :, objective] <= rows[:, None, objective]
    answer: Mask = np.logical_or.reduce(covered, axis=1)
    return answer


def minimised(points: Sequence[HasPoint], objectives: Sequence[str]) -> Floats:
    """The points' objectives as rows in which lower is better; a missing figure is NaN."""
    rows = [
        [METRICS[name].sign * p.point.metrics.get(name, math.nan) for name in objectives]
        for p in points
    ]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(objectives))


def front_of(
    points: Sequence[P], objectives: Sequence[str], constraints: Mapping[str, Bound] | None = None
) -> list[P]:
    """The points within the constraints that no other such point dominates, in their order."""
    feasible = within(points, constraints or {})
    mask = pareto_mask(minimised(feasible, objectives))
    return [p for p, is_kept in zip(feasible, mask.tolist(), strict=True) if is_kept]


def within(points: Sequence[P], constraints: Mapping[str, Bound]) -> list[P]:
    """The points that no constraint excludes, in their order."""
    bounds = constraints.items()
    return [
        p
        for p in points
        if all(bound.violation(p.point.metrics.get(name, math.nan)) == 0 for name, bound in bounds)
    ]


def ideal(metric: str) -> float:
    """The best that a metric could be."""
    return 1.0 if METRICS[metric].better == "higher" else 0.0


def reference_point(
    points: Sequence[HasPoint],
    objectives: Sequence[str],
    given: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """What hypervolume is measured from, by objective and in its own unit.

    What the study gives wins. Otherwise 0 where higher is better, and else the
    worst finite value among the points of the ten trials with the lowest
    numbers (1 if that leaves no box).
    """
    first = set(sorted({p.trial for p in points})[:_FIRST_TRIALS])
    reference = {}
    for name in objectives:
        if given and name in given:
            reference[name] = float(given[name])
        elif METRICS[name].better == "higher":
            reference[name] = 0.0
        else:
            values = [p.point.metrics.get(name, math.nan) for p in points if p.trial in first]
            worst = max((value for value in values if math.isfinite(value)), default=0.0)
            reference[name] = float(worst) if worst > 0 else 1.0
    return reference


def normalised_hypervolume(
    points: Sequence[HasPoint], objectives: Sequence[str], reference: Mapping[str, float]
) -> float:
    """Share of the box between the ideal and the reference that the points dominate, 0 to 1.

    What lies outside of the box on any side adds nothing for that part. The
    points have to be within the constraints, as those of `front_of` are.
    """
    values = in_box(minimised(points, objectives), objectives, reference)
    return min(hypervolume(values[pareto_mask(values)], np.ones(len(objectives))), 1.0)


def in_box(values: Floats, objectives: Sequence[str], reference: Mapping[str, float]) -> Floats:
    """Rows of `minimised`, scaled so that the ideal is 0 and the reference 1; the finite ones.

    Better than ideal counts as ideal.
    """
    signs = np.array([METRICS[name].sign for name in objectives], dtype=np.float64)
    best = signs * [ideal(name) for name in objectives]
    worst = signs * [reference[name] for name in objectives]
    finite = values[np.isfinite(values).all(axis=1)]
    return np.maximum((finite - best) / (worst - best), 0.0)


def knee(points: Sequence[P], objectives: Sequence[str]) -> P:
    """The member of a front that gives up least: the one furthest before its extremes.

    Each objective is scaled to 0..1 over `points`. For two objectives the
    extremes are then (0, 1) and (1, 0), and the knee is the point with the
    largest distance to the line through them, on the side of the ideal. For d
    objectives the line becomes the plane through the d unit points, which
    is where a front that trades evenly lies; the distance to it grows as the sum of the
    scaled objectives falls. An objective in which all are equal counts for
    nothing; for one objective the knee is the best point. Of equal points the
    first is taken. Raises PickError when there is no point.
    """
    return points[knee_row(minimised(points, objectives))]


def knee_row(values: Floats) -> int:
    """The row of `knee` in points x objectives, minimised. Raises PickError without a point."""
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(finite) == 0:
        raise PickError("there is no point to pick from: the front is empty")
    low, high = values[finite].min(axis=0), values[finite].max(axis=0)
    spans = np.where(high > low, high - low, 1.0)
    sums = ((values[finite] - low) / spans).sum(axis=1)
    return int(finite[sums.argmin()])


_CONDITION = re.compile(r"(?P<metric>[A-Za-z_]\w*)(?P<side><=|>=)(?P<value>\S+)")


def pick(points: Sequence[P], spec: str, objectives: Sequence[str]) -> P:
    """The point that `spec` names: conditions, then `knee` or `best:METRIC`.

    `knee`, `best:accuracy`, `accuracy>=0.97 model_bytes<=1e5 best:synaptic_ops`;
    conditions alone take the knee of what they leave. Of points that are equally good the
    better in the other objectives is taken. Raises PickError.
    """
    kept, rule = list(points), ""
    if not kept:
        raise PickError("there is no point to pick from: the front is empty")
    for word in re.sub(r"\s*(<=|>=)\s*", r"\1", spec).split():
        if rule:
            raise PickError(f"pick {spec!r}: nothing can follow {rule!r}, got {word!r}")
        condition = _CONDITION.fullmatch(word)
        if condition:
            kept = _within(kept, spec, condition)
        elif word == "knee" or word.startswith("best:"):
            rule = word
        else:
            raise PickError(
                f"pick {spec!r}: {word!r} must be knee, best:METRIC, METRIC>=X or METRIC<=X"
                + nearest(word, ("knee", *(f"best:{name}" for name in METRICS)))
            )
    if rule.startswith("best:"):
        metric = _metric(spec, rule.removeprefix("best:"))
        if not np.isfinite(minimised(kept, (metric,))).any():
            raise PickError(
                f"pick {spec!r}: no point has a figure for {metric}; name another metric"
            )
        return _best(kept, metric, objectives)
    return knee(kept, objectives)


def _metric(spec: str, name: str) -> str:
    if name not in METRICS:
        hint = nearest(name, METRICS) or f"; known: {', '.join(METRICS)}"
        raise PickError(f"pick {spec!r}: {name!r} is not a metric{hint}")
    return name


def _within(points: list[P], spec: str, condition: re.Match[str]) -> list[P]:
    """Those that meet the condition. Raises PickError, with the nearest miss, if none does."""
    name = _metric(spec, condition["metric"])
    try:
        limit = float(condition["value"])
    except ValueError:
        raise PickError(
            f"pick {spec!r}: {name} must be compared with a number, got {condition['value']!r}"
        ) from None
    is_max = condition["side"] == "<="
    bound = Bound(max=limit) if is_max else Bound(min=limit)
    values = [p.point.metrics.get(name, math.nan) for p in points]
    kept = [p for p, v in zip(points, values, strict=True) if bound.violation(v) == 0]
    if not kept:
        found = [value for value in values if math.isfinite(value)]
        closest = f"{(min(found) if is_max else max(found)):g}" if found else "none measured"
        raise PickError(
            f"pick {spec!r}: no point has {condition[0]}; the closest has {name} {closest}"
        )
    return kept


def _best(points: Sequence[P], metric: str, objectives: Sequence[str]) -> P:
    names = (metric, *(name for name in objectives if name != metric))
    rows = minimised(points, names)
    rows[~np.isfinite(rows)] = math.inf
    return points[int(np.lexsort(rows.T[::-1])[0])]

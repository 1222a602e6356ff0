"""Choose one operating point of a front: the knee, the best in a metric, within limits."""

import math
import re
from collections.abc import Sequence

import numpy as np

from search.front.front import Floats, P, minimised
from search.study.tables import Bound
from search.text.units import read_figure
from snn.settings.config import nearest
from snn.settings.measurement import METRICS, Metrics


class PickError(ValueError):
    """A pick that cannot be read, or that no point fulfils."""


def knee(points: Sequence[P], objectives: Sequence[str], metrics: Metrics = METRICS) -> P:
    """Return the knee of a front: the point with the smallest sum of scaled objectives.

    Each objective is scaled to 0 (best of `points`) .. 1 (worst) and minimised.
    This is the point furthest from the hyperplane through the d extreme points, on the
    side of the ideal; with two objectives, furthest from the line between both
    ends. An objective in which all points are equal does not count; with one
    objective the knee is the best point. Of equal points the first is taken.
    Raises PickError without a point.
    """
    return points[knee_row(minimised(points, objectives, metrics))]


def knee_row(values: Floats) -> int:
    """Return the row of the knee in `values` (points x objectives, minimised).

    Raises PickError if no row is finite.
    """
    finite = np.flatnonzero(np.isfinite(values).all(axis=1))
    if len(finite) == 0:
        raise PickError("there is no point to pick from: the front is empty")
    low, high = values[finite].min(axis=0), values[finite].max(axis=0)
    spans = np.where(high > low, high - low, 1.0)
    sums = ((values[finite] - low) / spans).sum(axis=1)
    return int(finite[sums.argmin()])


_CONDITION = re.compile(r"(?P<metric>[A-Za-z_]\w*)\s*(?P<side><=|>=)\s*(?P<value>.+)")
# a space before a condition or a goal; one within a value such as 97.2 % separates nothing
_BETWEEN = re.compile(r"\s+(?=[A-Za-z_]\w*\s*[<>]=|kne|best)")


def pick(
    points: Sequence[P], spec: str, objectives: Sequence[str], metrics: Metrics = METRICS
) -> P:
    """The point that `spec` names: conditions, then `knee` or `best:METRIC`.

    `knee`, `best:accuracy`, `accuracy>=97% model_bytes<=100kB best:synaptic_ops`;
    conditions alone take the knee of what they leave. Of points that are equally good the
    better in the other objectives is taken. Raises PickError.
    """
    kept, rule = list(points), ""
    if not kept:
        raise PickError("there is no point to pick from: the front is empty")
    for word in _BETWEEN.split(spec.strip()):
        if rule:
            raise PickError(f"pick {spec!r}: nothing can follow {rule!r}, got {word!r}")
        condition = _CONDITION.fullmatch(word)
        if condition:
            kept = _within(kept, spec, condition, metrics)
        elif word == "knee" or word.startswith("best:"):
            rule = word
        else:
            raise PickError(
                f"pick {spec!r}: {word!r} must be knee, best:METRIC, METRIC>=X or METRIC<=X"
                + nearest(word, ("knee", *(f"best:{name}" for name in metrics)))
            )
    if rule.startswith("best:"):
        metric = _metric(spec, rule.removeprefix("best:"), metrics)
        if not np.isfinite(minimised(kept, (metric,), metrics)).any():
            raise _unmeasured(spec, metric)
        return _best(kept, metric, objectives, metrics)
    return knee(kept, objectives, metrics)


def _metric(spec: str, name: str, metrics: Metrics) -> str:
    if name not in metrics:
        hint = nearest(name, metrics) or f"; known: {', '.join(metrics)}"
        raise PickError(f"pick {spec!r}: {name!r} is not a metric{hint}")
    return name


def _unmeasured(spec: str, metric: str) -> PickError:
    return PickError(f"pick {spec!r}: no point has a figure for {metric}; name another metric")


def _within(points: list[P], spec: str, condition: re.Match[str], metrics: Metrics) -> list[P]:
    """Those that meet the condition. Raises PickError, with the nearest miss, if none does."""
    name = _metric(spec, condition["metric"], metrics)
    try:
        limit = read_figure(metrics[name], condition["value"])
    except ValueError as error:
        raise PickError(f"pick {spec!r}: {name} {error}") from None
    is_max = condition["side"] == "<="
    bound = Bound(max=limit) if is_max else Bound(min=limit)
    values = [p.point.metrics.get(name, math.nan) for p in points]
    kept = [p for p, v in zip(points, values, strict=True) if bound.violation(v) == 0]
    if not kept:
        found = [value for value in values if math.isfinite(value)]
        if not found:
            raise _unmeasured(spec, name)
        closest = min(found) if is_max else max(found)
        asked = f"{name}{condition['side']}{condition['value']}"
        raise PickError(f"pick {spec!r}: no point has {asked}; the closest has {name} {closest:g}")
    return kept


def _best(points: Sequence[P], metric: str, objectives: Sequence[str], metrics: Metrics) -> P:
    names = (metric, *(name for name in objectives if name != metric))
    rows = minimised(points, names, metrics)
    rows[~np.isfinite(rows)] = math.inf
    return points[int(np.lexsort(rows.T[::-1])[0])]

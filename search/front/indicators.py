"""Quality indicators of fronts: hypervolume, contributions to it, epsilon, IGD+.

Computed by moocore; every objective is minimised. It is imported where it is
used, so that commands which need no indicator start without it.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from search.front.front import Floats, minimised
from search.front.merged import HasPoint
from snn.settings.measurement import METRICS, Metric, Metrics

_FIRST_TRIALS = 10  # the worst of these is the reference


def hypervolume(values: Floats, reference: Floats) -> float:
    """Return the volume between the points `values` (points x objectives) and `reference`.

    Points that are not better than the reference in every objective, or not
    finite, add nothing. O(n log n) for two and three objectives, O(n^2) for four
    (Guerreiro, Fonseca 2018), O(n^(d-2)) at worst for more.
    """
    import moocore

    points = np.asarray(values, dtype=np.float64).reshape(-1, len(reference))
    points = points[np.isfinite(points).all(axis=1)]
    return float(moocore.hypervolume(points, ref=reference)) if len(points) else 0.0


def hypervolume_contributions(values: Floats, reference: Floats) -> Floats:
    """Return by how much the hypervolume of a front shrinks without each of its points.

    One figure for each row of `values`; 0 for points that are dominated, duplicated, not
    finite or not better than the reference. Dominated points change no other figure.
    """
    import moocore

    points = np.asarray(values, dtype=np.float64).reshape(-1, len(reference))
    if len(reference) == 1:  # moocore needs two objectives; a constant one changes nothing
        points, reference = np.insert(points, 1, 0.0, axis=1), np.append(reference, 1.0)
    contributions = np.zeros(len(points))
    finite = np.isfinite(points).all(axis=1)
    if finite.any():
        contributions[finite] = moocore.hv_contributions(points[finite], ref=reference)
    return contributions


def epsilon(values: Floats, target: Floats) -> float:
    """Return the additive epsilon of `values` against the front `target`.

    The smallest amount by which all points of `values` have to be lowered in
    every objective so that they weakly dominate `target`: 0 or less if they do,
    infinity without points (Zitzler et al. 2003). Scale the objectives alike first: `in_box`.
    """
    import moocore

    if not len(values):
        return math.inf
    return float(moocore.epsilon_additive(values, ref=target))


def igd_plus(values: Floats, target: Floats) -> float:
    """Return the modified inverted generational distance of `values` from the front `target`.

    The mean over `target` of the distance to the nearest point of `values`, counting
    only objectives in which that point is worse: 0 if `values` weakly dominates
    `target`, infinity without points (Ishibuchi et al. 2015). Scale the objectives
    alike first: `in_box`.
    """
    import moocore

    if not len(values):
        return math.inf
    return float(moocore.igd_plus(values, ref=target))


def ideal(metric: str, metrics: Metrics = METRICS) -> float:
    """Return the best value that a metric can have."""
    return metrics[metric].best_value


def reference_point(
    points: Sequence[HasPoint],
    objectives: Sequence[str],
    given: Mapping[str, float] | None = None,
    metrics: Metrics = METRICS,
) -> dict[str, float]:
    """Return the reference point of the hypervolume, by objective and in its unit.

    A value that the study gives is taken. Otherwise 0 where higher is better, and else the
    worst finite value among the points of the ten trials with the lowest
    numbers: twice that if all are equal, so that a constant objective leaves a
    volume; 1 if the worst is 0. For a metric of the user, whose values may have any sign, the
    worst value in either direction.
    """
    first = set(sorted({p.trial for p in points})[:_FIRST_TRIALS])
    reference = {}
    for name in objectives:
        if given and name in given:
            reference[name] = float(given[name])
            continue
        values = [p.point.metrics.get(name, math.nan) for p in points if p.trial in first]
        finite = [value for value in values if math.isfinite(value)]
        if name not in METRICS:
            reference[name] = _own_reference(metrics[name], finite)
        elif METRICS[name].better == "higher":
            reference[name] = 0.0
        else:
            worst = max(finite, default=0.0)
            margin = 2.0 if worst == min(finite, default=0.0) else 1.0
            reference[name] = margin * worst if worst > 0 else 1.0
    return reference


def _own_reference(metric: Metric, values: Sequence[float]) -> float:
    """Return the worst of `values`, with a margin if all are equal; worse than the ideal."""
    best = metric.sign * metric.best_value
    costs = [metric.sign * value for value in values] or [best]
    worst = max(costs)
    if worst == min(costs):
        worst += abs(worst) or 1.0
    return metric.sign * (worst if worst > best else best + 1.0)


def constant_objectives(points: Sequence[HasPoint], objectives: Sequence[str]) -> dict[str, float]:
    """Return the objectives that have one value in all points, with it; of two or more points.

    They decide nothing: an axis that changes them is missing in the space.
    """
    if len(points) < 2:
        return {}
    values = {name: {p.point.metrics.get(name, math.nan) for p in points} for name in objectives}
    return {name: found.pop() for name, found in values.items() if len(found) == 1}


def normalised_hypervolume(
    points: Sequence[HasPoint],
    objectives: Sequence[str],
    reference: Mapping[str, float],
    metrics: Metrics = METRICS,
) -> float:
    """Return the share of the box from the ideal to the reference that points dominate, 0 to 1.

    Parts outside of the box add nothing. Points outside of the constraints must have been
    left out, as `front_of` does.
    """
    values = in_box(minimised(points, objectives, metrics), objectives, reference, metrics)
    return box_share(values)


def box_share(values: Floats) -> float:
    """Return the share of the unit box that rows of `in_box` dominate, 0 to 1."""
    return min(hypervolume(values, np.ones(values.shape[1])), 1.0)


def in_box(
    values: Floats,
    objectives: Sequence[str],
    reference: Mapping[str, float],
    metrics: Metrics = METRICS,
) -> Floats:
    """Rows of `minimised`, scaled so that the ideal is 0 and the reference 1; the finite ones.

    Better than ideal counts as ideal.
    """
    signs = np.array([metrics[name].sign for name in objectives], dtype=np.float64)
    best = signs * [ideal(name, metrics) for name in objectives]
    worst = signs * [reference[name] for name in objectives]
    finite = values[np.isfinite(values).all(axis=1)]
    return np.maximum((finite - best) / (worst - best), 0.0)

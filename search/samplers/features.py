"""Numbers that models of trials read and predict: values of axes, metrics, families of points."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from search.front.front import Floats
from search.study.axes import Choice, Integer, PlainAxis, Real, Value
from snn.settings.measurement import METRICS, Metric

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of the images that go on behind an exit: the operating points up to the next one."""


class Scales:
    """Metrics on the scales on which they are modelled.

    Accuracies are log odds; other metrics of ours that are never below 0 are logarithms.
    """

    def __init__(self, known: Mapping[str, Sequence[float]]) -> None:
        """`known` are measured values by metric."""
        self._logarithmic = {
            name
            for name, values in known.items()
            if name in METRICS and name != "accuracy" and min(values, default=-1.0) >= 0
        }

    def has_least(self, name: str) -> bool:
        """Whether the scale of the metric begins at a least value."""
        return name == "accuracy" or name in self._logarithmic

    def forward(self, name: str, values: Floats | float) -> Floats:
        """Return measured values on the scale, in any shape."""
        if name == "accuracy":
            inside = np.clip(values, 0.01, 0.995)
            return np.asarray(np.log(inside / (1 - inside)))
        return np.log1p(values) if name in self._logarithmic else np.asarray(values)

    def backward(self, name: str, levels: Floats | float) -> Floats:
        """Return what `forward` was given."""
        if name == "accuracy":
            return np.asarray(1 / (1 + np.exp(-np.asarray(levels))))
        if name in self._logarithmic:
            return np.expm1(np.minimum(levels, 60.0))
        return np.asarray(levels)


def progress(name: str, metric: Metric, share: float) -> float:
    """Return the part of the way of a metric from one exit to the next, 0 to 1.

    `share` of the images go on: those of which the exit before is least sure, so that accuracy
    rises faster than costs. What is no mean over images is that of the next exit.
    """
    if name == "accuracy":
        return 1 - (1 - share) ** 2
    return share if metric.is_mean else 1.0


def encoded(axis: PlainAxis, value: Value | None) -> list[float]:
    """Return a value of an axis as numbers from 0 to 1, and whether it is there for a choice."""
    if isinstance(axis, Integer | Real):
        return [0.5 if value is None else _share(axis, float(value))]
    values = tuple(axis.values)
    if isinstance(axis, Choice) and all(isinstance(v, int | float) for v in values):
        numbers = sorted(float(v) for v in values)
        if len(numbers) > 2 or value is None:
            place = 0.5 if value is None else numbers.index(float(value)) / max(len(numbers) - 1, 1)
            return [place]
        return [float(float(value) == numbers[-1])]
    return [float(known == value) for known in values]


def _share(axis: Integer | Real, value: float) -> float:
    low, high = float(axis.low), float(axis.high)
    if axis.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5

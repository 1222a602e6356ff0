"""Dimensions: the axes for a sampler, with stepped reals as integer numbers of steps.

Integers keep every value exact: a sampler that was rebuilt from stored values has the same
values as one that kept running.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.study.axes import PlainAxis, Real, Value


def encoded(axis: PlainAxis, value: Value) -> Value:
    """Return a value of params as the sampler stores it."""
    if isinstance(axis, Real) and axis.step is not None:
        assert not isinstance(value, str)
        return round((value - axis.low) / axis.step)
    return value


def decoded(axis: PlainAxis, raw: Any) -> Value:
    """Return a value of the sampler as params store it."""
    if isinstance(axis, Real) and axis.step is not None:
        return axis.on_grid(axis.low + axis.step * raw)
    value: Value = raw
    return value


def middle(axis: PlainAxis) -> Value:
    """Return a value for a dimension that is inactive in a configuration."""
    if isinstance(axis, Real) and axis.step is None:
        return math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    return axis.values[int(axis.size) // 2]


class Drawn:
    """Suggests values that were drawn before, one for each dimension."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return int(self._values[name])

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        return float(self._values[name])

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        value: Value = self._values[name]
        return value

"""Dimensions: the axes as a sampler sees them, stepped reals counted in whole steps.

Counting in steps keeps every value exact: no rounding can differ between a
sampler that lived on and one that was rebuilt from stored values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.study.axes import PlainAxis, Real, Value


def encoded(axis: PlainAxis, value: Value) -> Value:
    """A value of params as the sampler has it."""
    if isinstance(axis, Real) and axis.step is not None:
        assert not isinstance(value, str)
        return round((value - axis.low) / axis.step)
    return value


def decoded(axis: PlainAxis, raw: Any) -> Value:
    """A value of the sampler as params have it."""
    if isinstance(axis, Real) and axis.step is not None:
        return axis.on_grid(axis.low + axis.step * raw)
    value: Value = raw
    return value


def middle(axis: PlainAxis) -> Value:
    """A value for a dimension that does not exist at a point."""
    if isinstance(axis, Real) and axis.step is None:
        return math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    return axis.values[len(axis.values) // 2]


class Drawn:
    """Answers a space with values that were drawn already, one for every dimension."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return int(self._values[name])

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        return float(self._values[name])

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        value: Value = self._values[name]
        return value

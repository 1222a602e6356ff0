"""Axes: the values that one setting may take in a space."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, overload, runtime_checkable

from snn.settings.config import nearest
from snn.settings.partition import partitions

Value = int | float | str
When = Mapping[str, tuple[Value, ...]]  # other axis -> the values with which this one exists

MOST_VALUES = 2**53  # of a range: floats and samplers count no further exactly
# Room for the rounding of a value that was computed as low + k * step.
_STEP_TOLERANCE = 1e-8


@runtime_checkable
class Suggest(Protocol):
    """Chooses values: a sampler, a random generator, a test."""

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        """Return an integer from `low` to `high`, both included."""
        ...

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        """Return a number from `low` to `high`; with a `step`, `high` is on its grid."""
        ...

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        """Return one of `values`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """One value, which is in the params of every trial."""

    value: Value
    when: When = field(default_factory=dict)

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that the axis can take."""
        return (self.value,)

    @property
    def size(self) -> float:
        """Number of values that the axis can take."""
        return 1

    def sample(self, name: str, suggest: Suggest) -> Value:
        """Return the value without a question to `suggest`."""
        return self.value

    def fault(self, value: object) -> str | None:
        """Return the fault of `value`, or None."""
        return None if value == self.value else f"must be {self.value}, got {value!r}"

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        return f"{self.value}"


@dataclass(frozen=True, kw_only=True)
class Integer:
    """Integers from `low` to at most `high`, `step` apart."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    when: When = field(default_factory=dict)
    prior: int | None = None  # near which good values are expected

    @property
    def last(self) -> int:
        """The largest value that the steps reach."""
        return self.low + (self.high - self.low) // self.step * self.step

    @property
    def values(self) -> range:
        """The values that the axis can take."""
        return range(self.low, self.last + 1, self.step)

    @property
    def size(self) -> float:
        """Number of values that the axis can take."""
        return (self.last - self.low) // self.step + 1

    def sample(self, name: str, suggest: Suggest) -> Value:
        """Return one value from `suggest`."""
        return suggest.integer(name, self.low, self.last, self.step, self.log)

    def fault(self, value: object) -> str | None:
        """Return the fault of `value`, or None."""
        if isinstance(value, int) and not isinstance(value, bool) and value in self.values:
            return None
        return f"must be {self.describe()}, got {value!r}"

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        unreached = f"; {self.high} is not reached" if self.last < self.high else ""
        return f"{self.low} to {self.last}{steps}{unreached}{', log' if self.log else ''}"


class Grid(Sequence[float]):
    """Evenly spaced values, each computed when it is read."""

    def __init__(self, value: Callable[[int], float], count: int) -> None:
        self._value, self._count = value, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> float: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[float]: ...
    def __getitem__(self, place: int | slice) -> float | Sequence[float]:
        places = range(self._count)[place]
        return self._value(places) if isinstance(places, int) else [self._value(k) for k in places]


@dataclass(frozen=True, kw_only=True)
class Real:
    """Numbers from `low` to at most `high`, with a `step` that far apart."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    when: When = field(default_factory=dict)
    prior: float | None = None  # near which good values are expected

    @property
    def steps(self) -> int:
        """Number of steps between low and high. The axis must have a step."""
        assert self.step is not None
        count = (self.high - self.low) / self.step
        return math.floor(count + max(_STEP_TOLERANCE, count * 1e-15))

    @property
    def last(self) -> float:
        """The largest value that the steps reach."""
        return self.high if self.step is None else self.on_grid(self.high)

    def on_grid(self, value: float) -> float:
        """Return the nearest value of the grid, without rounding errors (0.15)."""
        if self.step is None:
            return value
        steps = min(max(round((value - self.low) / self.step), 0), self.steps)
        # Three digits of the step at least, so that small steps stay apart.
        digits = max(12, 3 - math.floor(math.log10(self.step)))
        return round(self.low + steps * self.step, digits)

    @property
    def values(self) -> Sequence[float]:
        """The values that the axis can take; none if they are continuous."""
        if self.low == self.high:
            return (self.low,)
        if (step := self.step) is None:
            return ()
        return Grid(lambda k: self.on_grid(self.low + k * step), self.steps + 1)

    @property
    def size(self) -> float:
        """Number of values that the axis can take."""
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else self.steps + 1

    def sample(self, name: str, suggest: Suggest) -> Value:
        """Return one value from `suggest`."""
        value = suggest.real(name, self.low, self.last, self.step, self.log)
        return self.on_grid(value)

    def fault(self, value: object) -> str | None:
        """Return the fault of `value`, or None."""
        message = f"must be {self.describe()}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return message
        if not self.low <= value <= self.high:
            return message
        off_grid = abs(value - self.on_grid(value)) > _STEP_TOLERANCE * (self.step or 0)
        return message if self.step is not None and off_grid else None

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        log = ", log" if self.log else ""
        if self.step is None:
            return f"{self.low:g} to {self.high:g}{log}"
        is_short = not math.isclose(self.last, self.high, rel_tol=1e-9)
        unreached = f"; {self.high:.10g} is not reached" if is_short else ""
        return f"{self.low:.10g} to {self.last:.10g} in steps of {self.step:g}{unreached}{log}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values, without an order."""

    values: tuple[Value, ...]
    when: When = field(default_factory=dict)
    prior: Value | None = None  # expected to be good

    @property
    def size(self) -> float:
        """Number of values that the axis can take."""
        return len(self.values)

    def sample(self, name: str, suggest: Suggest) -> Value:
        """Return one value from `suggest`."""
        return suggest.choice(name, self.values)

    def fault(self, value: object) -> str | None:
        """Return the fault of `value`, or None."""
        if value in self.values and (not isinstance(value, bool) or self._has_flag(value)):
            return None
        known = [str(known) for known in self.values]
        return f"must be one of {', '.join(known)}, got {value!r}" + nearest(str(value), known)

    def _has_flag(self, value: bool) -> bool:
        return any(known is value for known in self.values)

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        return " | ".join(str(value) for value in self.values)


@functools.lru_cache(maxsize=64)
def _cuts(units: int, most: int, least: int) -> tuple[str, ...]:
    return tuple(partitions(units, max_blocks=most, min_blocks=least))


@dataclass(frozen=True, kw_only=True)
class PartitionAxis:
    """Every partition of `units` units into `min_blocks` to `max_blocks` blocks."""

    max_blocks: int
    min_blocks: int = 1
    units: int
    when: When = field(default_factory=dict)
    prior: str | None = None  # expected to be good

    @property
    def values(self) -> tuple[str, ...]:
        """The values that the axis can take."""
        return _cuts(self.units, self.max_blocks, self.min_blocks)

    @property
    def size(self) -> float:
        """Number of values that the axis can take."""
        return len(self.values)

    def sample(self, name: str, suggest: Suggest) -> Value:
        """Return one value from `suggest`."""
        return suggest.choice(name, self.values)

    def fault(self, value: object) -> str | None:
        """Return the fault of `value`, or None."""
        return Choice(values=self.values).fault(value)

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        return Choice(values=self.values).describe()


@dataclass(frozen=True, kw_only=True)
class ExitAxis:
    """One number for each exit before the last; `each` is asked once for each exit.

    The partition of a trial gives their number; `exits` is the largest number in
    the space. In params they are `exit_threshold_1` and so on.
    """

    each: Real | Integer | Choice
    exits: int  # most names in params
    more: ClassVar[int] = 0
    when: When = field(default_factory=dict)

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        return f"{self.each.describe()}, for each exit before the last"


@dataclass(frozen=True, kw_only=True)
class BlockAxis(ExitAxis):
    """One number for each block; in params `dropout_1` and so on, `exits` as in ExitAxis."""

    more: ClassVar[int] = 1  # than exits before the last

    def describe(self) -> str:
        """Return the axis as text, without its name."""
        return f"{self.each.describe()}, for each block"


PlainAxis = Fixed | Integer | Real | Choice | PartitionAxis
Axis = PlainAxis | ExitAxis


def prior_of(axis: Axis) -> Value | None:
    """Return where good values of an axis are expected, or None."""
    if isinstance(axis, ExitAxis):
        return axis.each.prior
    return None if isinstance(axis, Fixed) else axis.prior

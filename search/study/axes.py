"""Axes: what one setting of a run may be within a space."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from snn.settings.config import nearest
from snn.settings.partition import partitions

Value = int | float | str
When = Mapping[str, tuple[Value, ...]]  # other axis -> the values with which this one exists

# Room for the rounding of a value that was computed as low + k * step.
_STEP_TOLERANCE = 1e-8


@runtime_checkable
class Suggest(Protocol):
    """Whoever chooses: a sampler, a random generator, a test."""

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        """A whole number from `low` to `high`, both included."""
        ...

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        """A number from `low` to `high`; `high` is on the grid of `step`, if there is one."""
        ...

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        """One of `values`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """An axis that was given one value; it stays in the params of every trial."""

    value: Value
    when: When = field(default_factory=dict)

    @property
    def values(self) -> tuple[Value, ...]:
        """The values that the axis can take."""
        return (self.value,)

    @property
    def size(self) -> float:
        """How many values the axis can take."""
        return 1

    def sample(self, name: str, suggest: Suggest) -> Value:
        """The value; nobody is asked."""
        return self.value

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        return None if value == self.value else f"must be {self.value}, got {value!r}"

    def describe(self) -> str:
        """For people, without the axis's name."""
        return f"{self.value}"


@dataclass(frozen=True, kw_only=True)
class Integer:
    """Whole numbers from `low` to at most `high`, `step` apart."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    when: When = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The largest value that a whole number of steps reaches."""
        return self.low + (self.high - self.low) // self.step * self.step

    @property
    def values(self) -> range:
        """The values that the axis can take."""
        return range(self.low, self.last + 1, self.step)

    @property
    def size(self) -> float:
        """How many values the axis can take."""
        return len(self.values)

    def sample(self, name: str, suggest: Suggest) -> Value:
        """One value, from `suggest`."""
        return suggest.integer(name, self.low, self.last, self.step, self.log)

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if isinstance(value, int) and not isinstance(value, bool) and value in self.values:
            return None
        return f"must be {self.describe()}, got {value!r}"

    def describe(self) -> str:
        """For people, without the axis's name."""
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low} to {self.high}{steps}{', log' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Real:
    """Numbers from `low` to at most `high`, `step` apart where there is one."""

    low: float
    high: float
    step: float | None = None
    log: bool = False
    when: When = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How many steps fit between low and high; the axis has to have a step."""
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + _STEP_TOLERANCE)

    @property
    def last(self) -> float:
        """The largest value that a whole number of steps reaches."""
        return self.high if self.step is None else self.on_grid(self.high)

    def on_grid(self, value: float) -> float:
        """The value of the grid nearest to `value`, as people would write it (0.15)."""
        if self.step is None:
            return value
        steps = min(max(round((value - self.low) / self.step), 0), self.steps)
        return round(self.low + steps * self.step, 12)

    @property
    def values(self) -> tuple[float, ...]:
        """The values that the axis can take; none when they are not apart from each other."""
        if self.low == self.high:
            return (self.low,)
        if self.step is None:
            return ()
        return tuple(self.on_grid(self.low + k * self.step) for k in range(self.steps + 1))

    @property
    def size(self) -> float:
        """How many values the axis can take."""
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else self.steps + 1

    def sample(self, name: str, suggest: Suggest) -> Value:
        """One value, from `suggest`."""
        value = suggest.real(name, self.low, self.last, self.step, self.log)
        return self.on_grid(value)

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        message = f"must be {self.describe()}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return message
        if not self.low <= value <= self.high:
            return message
        off_grid = abs(value - self.on_grid(value)) > _STEP_TOLERANCE * (self.step or 0)
        return message if self.step is not None and off_grid else None

    def describe(self) -> str:
        """For people, without the axis's name."""
        steps = f" in steps of {self.step:g}" if self.step is not None else ""
        return f"{self.low:g} to {self.high:g}{steps}{', log' if self.log else ''}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some values, in no order."""

    values: tuple[Value, ...]
    when: When = field(default_factory=dict)

    @property
    def size(self) -> float:
        """How many values the axis can take."""
        return len(self.values)

    def sample(self, name: str, suggest: Suggest) -> Value:
        """One value, from `suggest`."""
        return suggest.choice(name, self.values)

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value in self.values and not isinstance(value, bool):
            return None
        known = [str(known) for known in self.values]
        return f"must be one of {', '.join(known)}, got {value!r}" + nearest(str(value), known)

    def describe(self) -> str:
        """For people, without the axis's name."""
        return " | ".join(str(value) for value in self.values)


@dataclass(frozen=True, kw_only=True)
class PartitionAxis:
    """Every way to cut `units` units into `min_blocks` to `max_blocks` blocks."""

    max_blocks: int
    min_blocks: int = 1
    units: int
    when: When = field(default_factory=dict)

    @property
    def values(self) -> tuple[str, ...]:
        """The values that the axis can take."""
        cuts = partitions(self.units, max_blocks=self.max_blocks, min_blocks=self.min_blocks)
        return tuple(cuts)

    @property
    def size(self) -> float:
        """How many values the axis can take."""
        return len(self.values)

    def sample(self, name: str, suggest: Suggest) -> Value:
        """One value, from `suggest`."""
        return suggest.choice(name, self.values)

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        return Choice(values=self.values).fault(value)

    def describe(self) -> str:
        """For people, without the axis's name."""
        return Choice(values=self.values).describe()


@dataclass(frozen=True, kw_only=True)
class ExitAxis:
    """One number for each exit before the last: `each` is asked once per exit.

    How many there are is for the partition of the trial to say; `exits` is the
    most that the space can have. In params they are `exit_threshold_1` and so on.
    """

    each: Real | Choice
    exits: int
    when: When = field(default_factory=dict)

    def describe(self) -> str:
        """For people, without the axis's name."""
        return f"{self.each.describe()}, for each exit before the last"


PlainAxis = Fixed | Integer | Real | Choice | PartitionAxis
Axis = PlainAxis | ExitAxis

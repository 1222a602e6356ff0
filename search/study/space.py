"""The space of a study: which settings vary, within what, and when.

Points are drawn define-by-run: axes are asked one after another, and an axis
whose condition does not hold is not asked and is absent from the params.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.study.axes import (
    Axis,
    Choice,
    ExitAxis,
    Fixed,
    Integer,
    PartitionAxis,
    PlainAxis,
    Real,
    Suggest,
    Value,
)
from search.trial.trial import Params
from snn.settings.config import ConfigError, Fault, RunConfig, nearest
from snn.settings.partition import parse_partition

EXIT_THRESHOLD = "exit_threshold"
_POINTS_TRIED = 200  # before a space is said to hold no run


@dataclass(frozen=True, kw_only=True)
class Space:
    """Axes by name. Made by `search.study.space_table.read_space`, which checks them."""

    axes: Mapping[str, Axis]
    order: tuple[str, ...]  # every axis behind those that it depends on
    fixed_exits: int = 0  # exits before the last, where the partition is no axis

    def sample(self, suggest: Suggest) -> Params:
        """One point; `suggest` is asked for every value that exists in it."""
        params: dict[str, Value] = {}
        for name, axis in self._active(params):
            params[name] = axis.sample(name, suggest)
        return {name: params[name] for name in self.param_names() if name in params}

    def validate(self, params: Mapping[str, object]) -> None:
        """Raises ConfigError naming everything that keeps `params` from being a point."""
        seen: dict[str, Value] = {}
        faults = []
        for name, axis in self._active(seen):
            if name not in params:
                faults.append(Fault(key=name, message=f"must be given: {axis.describe()}"))
                continue
            message = axis.fault(params[name])
            if message:
                faults.append(Fault(key=name, message=message))
            else:
                seen[name] = params[name]  # type: ignore[assignment]  # the axis knows the value
        names = self.param_names()
        known = {fault.key for fault in faults} | set(seen)
        for name in params:
            if name not in names:
                message = f"is not an axis of the space{nearest(name, names)}"
                faults.append(Fault(key=name, message=message))
            elif name not in known and not faults:
                faults.append(Fault(key=name, message="does not exist at this point of the space"))
        if faults:
            raise ConfigError(faults)

    def size(self) -> int | float:
        """How many different points there are; infinity when an axis is continuous."""
        points = self._count(0, {})
        return points if math.isinf(points) else int(points)

    def describe(self) -> list[str]:
        """A line for each axis, for people."""
        width = max(len(name) for name in self.axes)
        return [
            f"{name:<{width}}  {axis.describe()}{_describe_when(axis)}"
            for name, axis in self.axes.items()
        ]

    def param_names(self) -> tuple[str, ...]:
        """Every name that params can have, in the order of SETTINGS."""
        names: list[str] = []
        for name, axis in self.axes.items():
            if isinstance(axis, ExitAxis):
                names.extend(f"{name}_{k + 1}" for k in range(axis.exits))
            else:
                names.append(name)
        return tuple(names)

    def dimensions(self) -> dict[str, PlainAxis]:
        """What each name of params can be when it exists, without the fixed ones."""
        found: dict[str, PlainAxis] = {}
        for name, axis in self.axes.items():
            if isinstance(axis, ExitAxis):
                found.update({f"{name}_{k + 1}": axis.each for k in range(axis.exits)})
            elif not isinstance(axis, Fixed):
                found[name] = axis
        return found

    def _active(self, params: Mapping[str, Value]) -> Iterator[tuple[str, PlainAxis]]:
        """The axes that exist, by the values that `params` is being filled with meanwhile."""
        for name in self.order:
            axis = self.axes[name]
            if not self._exists(axis, params):
                continue
            if isinstance(axis, ExitAxis):
                for k in range(self._exits(params)):
                    yield f"{name}_{k + 1}", axis.each
            else:
                yield name, axis

    def _exists(self, axis: Axis, params: Mapping[str, Value]) -> bool:
        return all(params.get(other) in values for other, values in axis.when.items())

    def _exits(self, params: Mapping[str, Value]) -> int:
        if "partition" not in self.axes:
            return self.fixed_exits
        return len(parse_partition(str(params["partition"]))) - 1 if "partition" in params else 0

    def _count(self, position: int, params: dict[str, Value]) -> int | float:
        """Points that differ in the axes from `position` on, given those before."""
        if position == len(self.order):
            return 1
        name = self.order[position]
        axis = self.axes[name]
        if not self._exists(axis, params):
            return self._count(position + 1, params)
        if isinstance(axis, ExitAxis):
            return axis.each.size ** self._exits(params) * self._count(position + 1, params)
        total: int | float = 0
        for value, multiplicity in self._cases(name, axis):
            total += multiplicity * self._count(position + 1, {**params, name: value})
        return total

    def _cases(self, name: str, axis: PlainAxis) -> list[tuple[Value, int | float]]:
        """Values between which other axes tell a difference; the rest as one, with their count."""
        asked: set[Value] = {v for a in self.axes.values() for v in a.when.get(name, ())}
        if name == "partition":
            asked.update(axis.values)
        cases: list[tuple[Value, int | float]] = [(v, 1) for v in sorted(asked, key=str)]
        rest = axis.size - len(cases)
        if rest > 0:
            other = next((v for v in axis.values if v not in asked), "")
            cases.append((other, rest))
        return cases


def _describe_when(axis: Axis) -> str:
    conditions = (
        f"{other} is {' or '.join(str(value) for value in values)}"
        for other, values in axis.when.items()
    )
    return f"  when {' and '.join(conditions)}" if axis.when else ""


def run_values(run: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """What RunConfig.from_mapping needs for a point: the shared settings and the drawn ones.

    `exit_threshold_1`, `exit_threshold_2` ... become the tuple `exit_threshold`.
    """
    values = dict(run)
    thresholds: dict[int, Value] = {}
    for name, value in params.items():
        prefix, _, number = name.rpartition("_")
        if prefix == EXIT_THRESHOLD and number.isdigit():
            thresholds[int(number)] = value
        else:
            values[name] = value
    if thresholds:
        values[EXIT_THRESHOLD] = tuple(thresholds[k] for k in sorted(thresholds))
    return values


class RandomSuggest:
    """Chooses uniformly, in logarithms where the axis says so."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        if log:
            # Half a unit on either side, so that the ends are as likely as their neighbours.
            return min(max(round(self._between(low - 0.5, high + 0.5)), low), high)
        return self._random.randrange(low, high + 1, step)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        if log:
            return min(max(self._between(low, high), low), high)
        if step is not None:
            return low + step * self._random.randint(0, round((high - low) / step))
        return self._random.uniform(low, high)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        return self._random.choice(values)

    def _between(self, low: float, high: float) -> float:
        """Uniform in the logarithm."""
        return math.exp(self._random.uniform(math.log(low), math.log(high)))


class _Insisting(RandomSuggest):
    """Takes one value of one choice, everything else at random."""

    def __init__(self, name: str, value: Value) -> None:
        super().__init__()
        self._name, self._value = name, value

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        return self._value if name == self._name else super().choice(name, values)


def conflict(run: Mapping[str, Any], space: Space) -> Fault | None:
    """What of the space can never be part of a run: all of it, or a value of a choice; or None."""
    faults = _obstacle(run, space, RandomSuggest())
    if faults:
        return Fault(key="space", message=f"has no point that can run: {_reasons(run, faults)}")
    for name, axis in space.axes.items():
        for value in axis.values if isinstance(axis, Choice) else ():
            faults = _obstacle(run, space, _Insisting(name, value), where=(name, value))
            if faults:
                message = f"has {value!r}, with which no point can run: {_reasons(run, faults)}"
                return Fault(key=f"space.{name}", message=message)
    return None


def _obstacle(
    run: Mapping[str, Any],
    space: Space,
    suggest: RandomSuggest,
    *,
    where: tuple[str, Value] | None = None,
) -> Sequence[Fault]:
    """What is wrong with the first point where none of those tried is a run; `where` holds in all.

    Nothing where a point is a run, or where the axis that is insisted on never exists.
    """
    first: Sequence[Fault] = ()
    for _ in range(_POINTS_TRIED):
        params = space.sample(suggest)
        if where is not None and params.get(where[0]) != where[1]:
            continue
        try:
            RunConfig.from_mapping(run_values(run, params))
        except ConfigError as error:
            first = first or error.faults
        else:
            return ()
    return first


def _reasons(run: Mapping[str, Any], faults: Sequence[Fault]) -> str:
    places = (f"{'run' if fault.key in run else 'space'}.{fault.key}" for fault in faults)
    return "; ".join(f"{place} {f.message}" for place, f in zip(places, faults, strict=True))


__all__ = [
    "Axis",
    "Choice",
    "ExitAxis",
    "Fixed",
    "Integer",
    "PartitionAxis",
    "RandomSuggest",
    "Real",
    "Space",
    "Suggest",
    "conflict",
    "run_values",
]

"""The space of a study: the settings that vary, their ranges and conditions.

Configurations are drawn define-by-run: one axis after another. An axis whose condition
does not hold is inactive: it is not drawn, and absent from the params.
"""

import contextlib
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.study import units
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
    prior_of,
)
from search.trial.function_config import TRAIN, Config, FunctionConfig
from search.trial.trial import Params
from snn.settings.config import PER_BLOCK, SETTINGS, ConfigError, Fault, RunConfig, nearest
from snn.settings.measurement import Metric
from snn.settings.partition import parse_partition
from snn.settings.unused import obstacle

EXIT_THRESHOLD = "exit_threshold"
LISTED = (EXIT_THRESHOLD, *PER_BLOCK)
"""Settings whose params have a number behind them, of the exit or the block."""
_DRAWS = 200  # without a valid run, before a space counts as having none


@dataclass(frozen=True, kw_only=True)
class Space:
    """Axes by name. Made by `search.study.space_table.read_space`, which checks them."""

    axes: Mapping[str, Axis]
    order: tuple[str, ...]  # every axis after those it depends on
    fixed_exits: int = 0  # exits before the last, if the partition is no axis
    unit_space: units.UnitSpace | None = None  # of the axes `unit_1_kind` and so on

    def sample(self, suggest: Suggest) -> Params:
        """Draw a configuration; `suggest` gives the value of each active axis."""
        params: dict[str, Value] = {}
        for name, axis in self._active(params):
            params[name] = axis.sample(name, suggest)
        return {name: params[name] for name in self.param_names() if name in params}

    def validate(self, params: Mapping[str, object]) -> None:
        """Raise ConfigError with all faults if `params` is not in the space."""
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
                faults.append(Fault(key=name, message="is not active in this configuration"))
        if faults:
            raise ConfigError(faults)

    def size(self) -> int | float:
        """Return the number of different configurations; infinity if an axis is continuous."""
        if self.unit_space is None:
            points = self._count(0, {})
        else:
            points = 0
            for count, number in self.unit_space.counts(self.axes).items():
                plain: dict[str, Value] = {units.COUNT: count}
                plain |= {units.named(k + 1, units.KIND): "c" for k in range(count)}
                fixed = self.axes.get(units.PER_BLOCK)
                if isinstance(fixed, Fixed):
                    plain[units.PER_BLOCK] = fixed.value
                points += number * self._count(0, plain)
        return points if math.isinf(points) else int(points)

    def describe(self) -> list[str]:
        """Return a line of text for each axis."""
        width = max(len(name) for name in self.axes)
        return [
            f"{name:<{width}}  {axis.describe()}{describe_prior(axis)}{_describe_when(axis)}"
            for name, axis in self.axes.items()
        ]

    def param_names(self) -> tuple[str, ...]:
        """Return every name that params can have, in the order of SETTINGS."""
        names: list[str] = []
        for name, axis in self.axes.items():
            if isinstance(axis, ExitAxis):
                names.extend(f"{name}_{k + 1}" for k in range(axis.exits))
            else:
                names.append(name)
        return tuple(names)

    def dimensions(self) -> dict[str, PlainAxis]:
        """Return the axis of each name of params, without the fixed ones."""
        found: dict[str, PlainAxis] = {}
        for name, axis in self.axes.items():
            if isinstance(axis, ExitAxis):
                found.update({f"{name}_{k + 1}": axis.each for k in range(axis.exits)})
            elif not isinstance(axis, Fixed):
                found[name] = axis
        return found

    def _active(self, params: Mapping[str, Value]) -> Iterator[tuple[str, PlainAxis]]:
        """Yield the active axes; `params` is filled with their values meanwhile."""
        for name in self.order:
            axis = self.axes[name]
            if not self._exists(axis, params):
                continue
            if self.unit_space is not None and not self.unit_space.allows(name, params):
                continue
            if isinstance(axis, ExitAxis):
                for k in range(self._exits(params) + axis.more):
                    yield f"{name}_{k + 1}", axis.each
            else:
                yield name, axis

    def _exists(self, axis: Axis, params: Mapping[str, Value]) -> bool:
        return all(params.get(other) in values for other, values in axis.when.items())

    def _exits(self, params: Mapping[str, Value]) -> int:
        if units.PER_BLOCK in params:
            return units.blocks_of(params) - 1
        if "partition" not in self.axes:
            return self.fixed_exits
        return len(parse_partition(str(params["partition"]))) - 1 if "partition" in params else 0

    def _count(self, position: int, params: dict[str, Value]) -> int | float:
        """Return the number of configurations of the axes from `position` on, given `params`."""
        if position == len(self.order):
            return 1
        name = self.order[position]
        axis = self.axes[name]
        is_unit = self.unit_space is not None and units.is_part(name)  # counted apart
        if is_unit or not self._exists(axis, params):
            return self._count(position + 1, params)
        if isinstance(axis, ExitAxis):
            each = axis.each.size ** (self._exits(params) + axis.more)
            return each * self._count(position + 1, params)
        total: int | float = 0
        for value, multiplicity in self._cases(name, axis):
            total += multiplicity * self._count(position + 1, {**params, name: value})
        return total

    def _cases(self, name: str, axis: PlainAxis) -> list[tuple[Value, int | float]]:
        """Return the values that conditions name, and one for all others, with their numbers."""
        asked: set[Value] = {v for a in self.axes.values() for v in a.when.get(name, ())}
        if name == "partition":
            asked.update(axis.values)
        cases: list[tuple[Value, int | float]] = [(v, 1) for v in sorted(asked, key=str)]
        rest = axis.size - len(cases)
        if rest > 0:
            other = next((v for v in axis.values if v not in asked), "")
            cases.append((other, rest))
        return cases


def describe_prior(axis: Axis) -> str:
    """Return the prior of an axis as text behind its range; empty if it has none."""
    value = prior_of(axis)
    shown = f"{value:g}" if isinstance(value, float) else value
    return "" if value is None else f", prior {shown}"


def _describe_when(axis: Axis) -> str:
    conditions = (
        f"{other} is {' or '.join(str(value) for value in values)}"
        for other, values in axis.when.items()
    )
    return f"  when {' and '.join(conditions)}" if axis.when else ""


def config_of_run(run: Mapping[str, Any], params: Params, *, code: str = "") -> Config:
    """Return all that a training depends on: shared settings and drawn ones.

    A `run` with `train` is that of a user's function. Raises ConfigError.
    """
    if TRAIN not in run:
        return RunConfig.from_mapping(run_values(run, params))
    values = {**run, **params}
    train, seed = values.pop(TRAIN), int(values.pop("seed", 0))
    return FunctionConfig(train=train, params=values, seed=seed, code=code)


def run_values(run: Mapping[str, Any], params: Params) -> dict[str, Any]:
    """Return the arguments of RunConfig.from_mapping: shared settings and drawn ones.

    `exit_threshold_1`, `exit_threshold_2` ... become the tuple `exit_threshold`, and so do the
    values of settings that blocks have for themselves. The values of units become an
    `architecture`.
    """
    values = dict(run)
    listed: dict[str, dict[int, Value]] = {}
    for name, value in params.items():
        prefix, _, number = name.rpartition("_")
        if prefix in LISTED and number.isdigit():
            listed.setdefault(prefix, {})[int(number)] = value
        elif not units.is_part(name):
            values[name] = value
    for name, numbered in listed.items():
        values[name] = tuple(numbered[k] for k in sorted(numbered))
    return {**values, **units.composed(params)}


class RandomSuggest:
    """Chooses uniformly, in the logarithm for axes with `log`."""

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
        """Return a number that is uniform in the logarithm."""
        return math.exp(self._random.uniform(math.log(low), math.log(high)))


class _Trials(RandomSuggest):
    """Chooses configurations to try: with all numbers largest, smallest and at random, in turn.

    A limit between two settings is met at the ends of their ranges first. With `where` one axis
    has that value.
    """

    def __init__(self, where: tuple[str, Value] | None = None) -> None:
        super().__init__()
        self._where, self._turn = where, -1

    def turn(self) -> None:
        """Begin the next configuration."""
        self._turn = (self._turn + 1) % 3

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        return (high, low, super().integer(name, low, high, step, log))[self._turn]

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        return (high, low, super().real(name, low, high, step, log))[self._turn]

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        if self._where is not None and name == self._where[0]:
            return self._where[1]
        drawn = super().choice(name, values)
        if any(isinstance(value, str) for value in values):  # names have no ends
            return drawn
        return (max(values, key=float), min(values, key=float), drawn)[self._turn]


def conflict(run: Mapping[str, Any], space: Space) -> Fault | None:
    """Return the fault of a space without a valid run, or of a choice that no valid run has."""
    faults = _obstacle(run, space)
    if faults:
        return Fault(key="space", message=f"has no valid configuration: {_reasons(run, faults)}")
    for name, axis in space.axes.items():
        # what units cannot be is not asked for
        for value in axis.values if isinstance(axis, Choice) and not units.is_part(name) else ():
            faults = _obstacle(run, space, where=(name, value))
            if faults:
                message = f"has {value!r}, with which no configuration is valid: "
                message += _reasons(run, faults)
                return Fault(key=f"space.{name}", message=message)
    return None


def unused(
    run: Mapping[str, Any], space: Space, names: Collection[str] | None = None
) -> Iterator[Fault]:
    """Yield a fault per setting of [run] or [space] that applies in no configuration.

    A setting that applies in some of them is no fault, nor one that has its default. With
    `names` only these are looked at.
    """
    config = _example(run, space)
    if config is None:
        return
    varied = _varied(space)
    for table, given in (("run", run), ("space", varied)):
        for name in given:
            if name not in SETTINGS or (names is not None and name not in names):
                continue
            reason = obstacle(SETTINGS[name].only_with, config, varied)
            if reason is None or (table == "run" and run[name] == getattr(config, name)):
                continue
            message = f"has no effect {reason}, as in every trial; leave it out"
            yield Fault(key=f"{table}.{name}", message=message)


def unmeasured(
    run: Mapping[str, Any], space: Space, asked: Collection[tuple[str, Metric]]
) -> Iterator[Fault]:
    """Yield a fault per metric that no trial measures, at the key that asks for it."""
    config = _example(run, space) if any(metric.only_with for _, metric in asked) else None
    if config is None:
        return
    for key, metric in asked:
        reason = obstacle(metric.only_with, config, _varied(space))
        if reason is not None:
            message = f"asks for {metric.name}, which is not measured {reason}, as in every trial"
            yield Fault(key=key, message=f"{message}; leave it out")


def _varied(space: Space) -> dict[str, tuple[Value, ...] | None]:
    return {
        name: axis.values if isinstance(axis, Choice | Fixed) else None
        for name, axis in space.axes.items()
    }


def _example(run: Mapping[str, Any], space: Space) -> RunConfig | None:
    """Return a valid configuration; None if none of _DRAWS is."""
    suggest = RandomSuggest()
    for _ in range(_DRAWS):
        with contextlib.suppress(ConfigError):
            return RunConfig.from_mapping(run_values(run, space.sample(suggest)))
    return None


def _obstacle(
    run: Mapping[str, Any], space: Space, where: tuple[str, Value] | None = None
) -> Sequence[Fault]:
    """Return the faults of the first configuration if none of _DRAWS is valid.

    Only those in which the axis `where[0]` has the value `where[1]` count. Empty if one
    is valid, or if the axis is never active.
    """
    first: Sequence[Fault] = ()
    suggest = _Trials(where)
    for _ in range(_DRAWS):
        suggest.turn()
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
    pairs = zip(places, faults, strict=True)
    return "; ".join(str(Fault(key=place, message=f.message)) for place, f in pairs)


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
    "config_of_run",
    "conflict",
    "run_values",
    "unused",
]

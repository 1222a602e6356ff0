"""First points: what a study tries before its sampler is asked.

They are written in the study file, as far as its author knows them. What a
point leaves open is drawn at random, by the study's seed and the point's place,
so that the same file always means the same points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from search.study.axes import Axis, ExitAxis, Value
from search.study.space import RandomSuggest, Space, run_values
from search.trial.trial import Params
from snn.settings.config import ConfigError, Fault, RunConfig, nearest

DRAWS = 200  # of what a point leaves open, before it counts as impossible


def initial_points(
    run: Mapping[str, Any],
    space: Space,
    given: Sequence[Mapping[str, Any]],
    seed: int,
    faults: list[Fault] | None = None,
) -> tuple[Params, ...]:
    """The `given` points, whole, each of them a run. What is wrong with them goes to `faults`."""
    points = []
    found: list[Fault] = [] if faults is None else faults
    for place, point in enumerate(given):
        key = f"search.initial_points[{place}]"
        wrong = [
            Fault(key=f"{key}.{name}", message=message)
            for name, value in point.items()
            if (message := _fault(space, name, value))
        ]
        if not wrong:
            suggest = RandomSuggest(hash((seed, place)))
            whole = _complete(run, space, point, suggest, key, wrong)
            if whole is not None:
                points.append(whole)
        found.extend(wrong)
    return tuple(points)


def _fault(space: Space, name: str, value: object) -> str | None:
    """What is wrong with one value of a point, whatever the others are."""
    axis = _axis(space, name)
    if axis is None:
        names = tuple(dict.fromkeys((*space.axes, *space.param_names())))
        hint = nearest(name, names) or f"; known: {', '.join(names)}"
        return f"is not an axis of the space{hint}"
    if not isinstance(axis, ExitAxis):
        return axis.fault(value)
    values = value if isinstance(value, list) else [value]
    if len(values) > axis.exits:
        return f"must be one value, or at most {axis.exits}, one per exit, got {value!r}"
    return next((message for v in values if (message := axis.each.fault(v))), None)


def _axis(space: Space, name: str) -> Axis | None:
    if name in space.axes:
        return space.axes[name]
    return space.dimensions().get(name)


def _complete(
    run: Mapping[str, Any],
    space: Space,
    point: Mapping[str, Any],
    suggest: RandomSuggest,
    key: str,
    faults: list[Fault],
) -> Params | None:
    """The point with what it leaves open, where that makes it a run."""
    reasons: list[Fault] = []
    for _ in range(DRAWS):
        params = space.sample(_Given(point, suggest))
        unused = [name for name in point if not _is_used(name, point[name], params, space)]
        if unused:
            message = "does not exist at this point of the space, or not for as many exits"
            reasons = reasons or [Fault(key=f"{key}.{name}", message=message) for name in unused]
            continue
        try:
            RunConfig.from_mapping(run_values(run, params))
        except ConfigError as error:
            message = f"is no run: {'; '.join(str(fault) for fault in error.faults)}"
            reasons = reasons or [Fault(key=key, message=message)]
            continue
        return params
    faults.extend(reasons)
    return None


def _is_used(name: str, value: object, params: Params, space: Space) -> bool:
    if not isinstance(space.axes.get(name), ExitAxis):
        return name in params
    exits = sum(param.rpartition("_")[0] == name for param in params)
    return exits == len(value) if isinstance(value, list) else exits > 0


class _Given:
    """Answers a space with what a point says, and where it says nothing as another would."""

    def __init__(self, point: Mapping[str, Any], other: RandomSuggest) -> None:
        self._point, self._other = point, other

    def _value(self, name: str) -> Any:
        """What the point says of a name of params; None where it says nothing."""
        if name in self._point:
            return self._point[name]
        axis, _, number = name.rpartition("_")
        value = self._point.get(axis) if number.isdigit() else None
        if isinstance(value, list):
            return value[int(number) - 1] if int(number) <= len(value) else None
        return value

    def integer(self, name: str, low: int, high: int, step: int, log: bool) -> int:
        value = self._value(name)
        return self._other.integer(name, low, high, step, log) if value is None else int(value)

    def real(self, name: str, low: float, high: float, step: float | None, log: bool) -> float:
        value = self._value(name)
        return self._other.real(name, low, high, step, log) if value is None else float(value)

    def choice(self, name: str, values: Sequence[Value]) -> Value:
        value = self._value(name)
        if value is None:
            return self._other.choice(name, values)
        chosen: Value = value
        return chosen


__all__ = ["DRAWS", "initial_points"]

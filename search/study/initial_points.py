"""Initial points: configurations of the study file that are tried before the sampler is asked.

Missing values are drawn at random from the study's seed and the position of the point, so
that the same file always gives the same configurations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from search.study.axes import Axis, ExitAxis, Value
from search.study.space import RandomSuggest, Space, config_of_run
from search.study.units import is_default, point_of
from search.trial.trial import Params
from snn.settings.architecture import ArchitectureError
from snn.settings.config import ConfigError, Fault, nearest

DRAWS = 200  # of missing values, before a point counts as invalid


def initial_points(
    run: Mapping[str, Any],
    space: Space,
    given: Sequence[Mapping[str, Any]],
    seed: int,
    faults: list[Fault] | None = None,
) -> tuple[Params, ...]:
    """Return the `given` points with all values; add the faults of the others to `faults`."""
    points = []
    found: list[Fault] = [] if faults is None else faults
    for place, point in enumerate(given):
        key = f"search.initial_points[{place}]"
        point, text_fault = _in_units(space, point)
        if text_fault:
            found.append(Fault(key=f"{key}.architecture", message=text_fault))
            continue
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


def _in_units(space: Space, point: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return a point with its architecture as values of units where those vary, and its fault."""
    if space.unit_space is None or "architecture" not in point:
        return point, ""
    others = {name: value for name, value in point.items() if name != "architecture"}
    try:
        values = point_of(str(point["architecture"]))
    except ArchitectureError as error:
        return point, str(error)
    # an option at the value that it has without an axis is not said
    named = {name: value for name, value in values.items() if name in space.axes}
    left = [
        name for name, value in values.items() if name not in named and not is_default(name, value)
    ]
    if left:
        return point, f"has {left[0]}, which is no axis of [space.units]"
    return {**others, **named}, ""


def _fault(space: Space, name: str, value: object) -> str | None:
    """Return the fault of one value of a point, independent of the others."""
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
    """Return the point with all values if that is a valid run; otherwise add faults."""
    reasons: list[Fault] = []
    for _ in range(DRAWS):
        params = space.sample(_Given(point, suggest))
        unused = [
            name
            for name in point
            if not is_default(name, point[name]) and not _is_used(name, point[name], params, space)
        ]
        if unused:
            message = "is not active in this configuration, or has values for too many exits"
            reasons = reasons or [Fault(key=f"{key}.{name}", message=message) for name in unused]
            continue
        try:
            config_of_run(run, params)
        except ConfigError as error:
            message = f"is not a valid run: {'; '.join(str(fault) for fault in error.faults)}"
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
    """Suggests the values of a point, and those of `other` where it has none."""

    def __init__(self, point: Mapping[str, Any], other: RandomSuggest) -> None:
        self._point, self._other = point, other

    def _value(self, name: str) -> Any:
        """Return the value of the point for a name of params, or None."""
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

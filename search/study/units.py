"""Units that vary: `unit_1_kind`, `unit_1_channels` and so on, made from `[space.units]`.

An architecture is drawn unit by unit. A value that cannot be is not asked for: the kind after
all-to-all neurons, which must be all-to-all too; a stride or a pool of a map that has no two
pixels left; the skip of a unit that changes the number of channels, which needs weights.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search.study.axes import Axis, Value
from snn.settings.architecture import format_architecture, parse_architecture
from snn.settings.backbones import BACKBONES
from snn.settings.partition import format_partition
from snn.settings.units import KINDS, Shape, Unit

COUNT = "units"  # axis: units of the architecture, those that are left out included
PER_BLOCK = "units_per_block"  # fixed: a partition of blocks of so many units
NONE = "none"  # kind of a unit that is left out
KIND = "kind"
_NAME = re.compile(r"unit_([0-9]+)_([a-z]+)")

Params = Mapping[str, Any]


def named(place: int, field: str) -> str:
    """Return the name of a value of unit `place`, counted from 1, in params."""
    return f"unit_{place}_{field}"


def place_of(name: str) -> tuple[int, str] | None:
    """Return the place and the field of a name of params, or None."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def is_part(name: str) -> bool:
    """Whether a name of params belongs to the units."""
    return name in (COUNT, PER_BLOCK) or _NAME.fullmatch(name) is not None


def composed(params: Params) -> dict[str, Value]:
    """Return the settings that the values of units stand for: an architecture, a partition."""
    if COUNT not in params:
        return {}
    units = units_of(params)
    made: dict[str, Value] = {"architecture": format_architecture(units)}
    if PER_BLOCK in params:
        made["partition"] = format_partition(tuple(_blocks(len(units), params[PER_BLOCK])))
    return made


def blocks_of(params: Params) -> int:
    """Return the number of blocks where the units decide it."""
    return len(list(_blocks(len(units_of(params)), params[PER_BLOCK])))


def _blocks(units: int, most: int) -> Iterator[int]:
    for first in range(0, units, most):
        yield min(most, units - first)


def units_of(params: Params, *, before: int | None = None) -> tuple[Unit, ...]:
    """Return the units of params, or those before the place `before`."""
    last = int(params.get(COUNT, 0)) + 1 if before is None else before
    words = (_word(place, params) for place in range(1, last))
    return parse_architecture(" ".join(filter(None, words))) if last > 1 else ()


def _word(place: int, params: Params) -> str:
    """Return the word of a unit; empty if it is left out."""
    letter = params.get(named(place, KIND), _dense())
    if letter == NONE:
        return ""
    kind = KINDS[str(letter)]
    word = f"{letter}{params.get(named(place, kind.size_name()), 1)}"
    for option in kind.fields()[1:]:
        value = params.get(named(place, option.name))
        if value is None:
            continue
        signs = option.metadata.get("signs")
        mark = signs[value] if signs else option.metadata["letter"]
        is_flag = isinstance(option.default, bool)
        word += mark if signs or (is_flag and value) else "" if is_flag else f"{mark}{value}"
    return word


@functools.lru_cache(maxsize=65_536)
def _shape_after(text: str, image: Shape, width: int) -> Shape:
    """Return the shape of the signal after the units of a text, which may be empty."""
    before, _, last = text.rpartition(" ")
    if not last:
        return image
    (unit,) = parse_architecture(last)
    return unit.output(_shape_after(before, image, width), unit.count(width))


@functools.cache  # a kind that an extension adds later is behind the first one
def _dense() -> str:
    return next(filter(is_dense, KINDS))


@functools.cache
def is_dense(letter: str) -> bool:
    """Whether a kind has all-to-all neurons, after which only such can follow."""
    (unit,) = parse_architecture(f"{letter}1")
    plans = unit.layers((1, 1, 1), 1)
    return plans[-1].links[0].kernel == 0


@dataclass(frozen=True, kw_only=True)
class UnitSpace:
    """What the units of a space depend on besides their own values."""

    image: Shape
    width: int  # if it is no axis
    strides: int  # the largest one

    def allows(self, name: str, params: Params) -> bool:
        """Whether a value is to be asked for after the values in `params`."""
        found = place_of(name)
        if found is None:
            return True
        place, field = found
        if place > params.get(COUNT, 0):
            return False
        letter = params.get(named(place, KIND), _dense())
        is_possible = field == KIND or (
            letter != NONE and any(f.name == field for f in KINDS[letter].fields())
        )
        if not is_possible or field not in (KIND, "skip", "stride", "pool"):
            return is_possible
        width = int(params.get("width", self.width))
        before = " ".join(filter(None, (_word(k, params) for k in range(1, place))))
        shape = _shape_after(before, self.image, width)
        if field == KIND:
            return len(shape) == 3
        if field == "skip":
            (unit,) = parse_architecture(_word(place, params))
            return shape[0] == unit.count(width)
        if field == "stride":
            return min(shape[1:], default=0) >= self.strides
        if field == "pool":
            (unit,) = parse_architecture(_word(place, params))
            last = list(unit.shapes(shape, unit.count(width)).values())[-1]
            return min(last[1:], default=0) >= 2
        return True

    def counts(self, axes: Mapping[str, Axis]) -> dict[int, float]:
        """Return the number of architectures by the number of units that they really have.

        Counted unit by unit: what a unit may be depends on the shape before it alone.
        """
        count: Any = axes[COUNT]
        found: dict[int, float] = {}
        states: dict[tuple[Shape, int], float] = {(self.image, 0): 1.0}
        for place in range(1, max(count.values) + 1):
            after: dict[tuple[Shape, int], float] = {}
            for (shape, units), number in states.items():
                for key, times in self._steps(place, shape, axes).items():
                    to = (key, units + 1) if key else (shape, units)
                    after[to] = after.get(to, 0.0) + number * times
            states = after
            if place in count.values:
                for (_, units), number in states.items():
                    found[units] = found.get(units, 0.0) + number
        return found

    def _steps(self, place: int, shape: Shape, axes: Mapping[str, Axis]) -> dict[Shape, float]:
        """Return the numbers of values of one unit by the shape after it; (): it is left out."""
        kinds: Any = axes[named(place, KIND)] if len(shape) == 3 else None
        found: dict[Shape, float] = {}
        for letter in kinds.values if kinds else (_dense(),):
            if letter == NONE:
                found[()] = found.get((), 0.0) + 1
                continue
            cases: list[dict[str, Value]] = [{COUNT: 1, named(1, KIND): letter}]
            alone = UnitSpace(image=shape, width=self.width, strides=self.strides)
            times = 1.0
            for field in KINDS[letter].fields():
                axis: Any = axes.get(named(place, field.name))
                if axis is None:
                    continue
                name = named(1, field.name)
                if field.name == "kernel":  # changes no shape if it is odd
                    times *= axis.size
                    continue
                cases = [
                    further
                    for case in cases
                    for further in (
                        [{**case, name: value} for value in axis.values]
                        if alone.allows(name, case)
                        else [case]
                    )
                ]
            for case in cases:
                after = _shape_after(_word(1, case), shape, self.width)
                found[after] = found.get(after, 0.0) + times
        return found


def point_of(text: str) -> dict[str, Value]:
    """Return the values of units that stand for an architecture, a text or a name.

    Raises ArchitectureError.
    """
    units = BACKBONES[text].units if text in BACKBONES else parse_architecture(text)
    point: dict[str, Value] = {COUNT: len(units)}
    for place, unit in enumerate(units, 1):
        point[named(place, KIND)] = unit.letter
        for field in unit.fields():
            value = getattr(unit, field.name)
            point[named(place, field.name)] = int(value) if isinstance(value, bool) else value
        if unit.in_widths:
            point[named(place, unit.size_name())] = f"{unit.size}w"
    return point


def is_default(name: str, value: object) -> bool:
    """Whether a value of a unit is the one that it has if no axis gives it."""
    found = place_of(name)
    if found is None:
        return False
    defaults = {f.name: f.default for kind in KINDS.values() for f in kind.fields()[1:]}
    return found[1] in defaults and defaults[found[1]] == value

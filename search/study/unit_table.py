"""The table `[space.units]` of a study file, read into an axis for each value of each unit."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from search.study.axes import Axis, Choice, Fixed, Integer
from search.study.presets import PRESETS
from search.study.units import COUNT, KIND, NONE, PER_BLOCK, UnitSpace, is_dense, named
from snn.settings.architecture import LARGEST_SIZE, MOST_UNITS
from snn.settings.config import DATASETS, ConfigError, RunConfig, Setting, nearest
from snn.settings.units import KINDS, Shape

_OWN = ("preset", "count", "per_block", KIND)
_WIDTHS = re.compile(r"[1-9][0-9]{0,4}w")


class Reader(Protocol):
    """What reads axes and collects their faults, see `search.study.space_table`."""

    def fault(self, key: str, message: str) -> None:
        """Add a fault."""

    def integer(
        self, name: str, given: Mapping[str, Any], setting: Setting, when: Any
    ) -> Integer | None: ...

    def choice(self, name: str, given: object, setting: Setting, when: Any) -> Choice | None: ...

    def with_prior(self, name: str, value: object, axis: Axis) -> Axis: ...


@dataclass(kw_only=True)
class UnitTable:
    """The axes of the units, and what other axes need to know of them."""

    axes: dict[str, Axis] = field(default_factory=dict)
    least: int = 0  # units that every architecture has; 0: not known, a fault was found
    most_blocks: int = 0  # 0: the units do not decide it

    def space(self, axes: Mapping[str, Axis], run: Mapping[str, Any]) -> UnitSpace:
        """Return what the values of units depend on."""
        image = _input_shape(run)
        values: list[Any] = []
        for name, axis in axes.items():
            if name.startswith("unit_") and name.endswith("_stride"):
                values += getattr(axis, "values", ())
        width = run.get("width", RunConfig.width)
        return UnitSpace(image=image, width=width, strides=max(values, default=1))


def _input_shape(run: Mapping[str, Any]) -> Shape:
    """Return the shape of the input, as far as [run] decides it."""
    named = ("dataset", "encoding", "polarity", "shrink")
    try:
        return RunConfig.from_mapping({n: run[n] for n in named if n in run}).input_shape
    except ConfigError:  # in conflict with a setting of [space], or reported elsewhere
        return DATASETS.get(str(run.get("dataset", RunConfig.dataset)), ((1, 1, 1), 2))[0]


def read_units(reader: Reader, given: object, run: Mapping[str, Any]) -> UnitTable:
    """Read the table; faults are added to the reader."""
    read = UnitTable()
    if not isinstance(given, dict):
        reader.fault(
            "units", f"must be a table like {{ count = 4, kind = ['c'], ... }}, got {given!r}"
        )
        return read
    table = _with_preset(reader, given)
    places = {name: value for name, value in table.items() if name.isdigit()}
    general = {name: value for name, value in table.items() if name not in places}
    fields = {f.name: f for kind in KINDS.values() for f in kind.fields()}
    _check_keys(reader, "units", general, (*_OWN, *fields))
    count = _axis(reader, "units.count", general.get("count"), Setting(
        kind="integer", meaning="", low=1, high=MOST_UNITS
    ))  # fmt: skip
    if count is None:
        if "count" not in general:
            reader.fault(
                "units.count", "must be given: the number of units, like { low = 3, high = 6 }"
            )
        return read
    values: Any = count.values
    read.axes[COUNT] = count
    for place in range(1, max(values) + 1):
        own = places.pop(str(place), {})
        if not isinstance(own, dict):
            reader.fault(f"units.{place}", f"must be a table like {{ kind = ['c'] }}, got {own!r}")
            continue
        _check_keys(reader, f"units.{place}", own, (KIND, *fields))
        _read_unit(reader, read, place, general, own)
    for key in places:
        reader.fault(f"units.{key}", f"must be a unit from 1 to {max(values)}")
    _read_blocks(reader, read, general, max(values))
    kinds = [read.axes.get(named(place, KIND)) for place in range(1, min(values) + 1)]
    read.least = sum(axis is not None and NONE not in axis.values for axis in kinds)  # type: ignore[union-attr]
    return read


def _with_preset(reader: Reader, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if "preset" not in given:
        return given
    name = given["preset"]
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        hint = nearest(str(name), PRESETS)
        reader.fault("units.preset", f"must be one of {known}, got {name!r}{hint}")
        return {n: v for n, v in given.items() if n != "preset"}
    preset = PRESETS[name].units
    for key in given:
        if key in preset and key != "preset":
            reader.fault(f"units.{key}", f"is set by preset {name!r} too; remove one of them")
    return {**preset, **{n: v for n, v in given.items() if n != "preset"}}


def _check_keys(
    reader: Reader, where: str, given: Mapping[str, Any], known: tuple[str, ...]
) -> None:
    for key in given:
        if key not in known:
            hint = nearest(key, known) or f"; known: {', '.join(known)}"
            reader.fault(f"{where}.{key}", f"is not a key of units{hint}")


def _read_unit(
    reader: Reader, read: UnitTable, place: int, general: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
    """Add the axes of one unit: its kind, and the fields of the kinds that it may be."""
    letters = (*KINDS, NONE)
    where = f"units.{place}" if KIND in own else "units"
    given = own.get(KIND, general.get(KIND))
    if given is None:
        if place == 1:
            reader.fault("units.kind", f"must be given: a list of {', '.join(letters)}")
        return
    kind = _axis(
        reader, f"{where}.kind", given, Setting(kind="choice", choices=letters, meaning="")
    )
    if kind is None:
        return
    values: tuple[Any, ...] = tuple(kind.values)
    if place == 1:  # a network has at least one unit
        values = tuple(value for value in values if value != NONE)
        if not values:
            reader.fault(f"{where}.kind", "must have a kind for the first unit, got none alone")
            return
        if isinstance(kind, Choice):
            kind = Choice(values=values, prior=None if kind.prior == NONE else kind.prior)
        else:
            kind = Fixed(value=values[0])
    read.axes[named(place, KIND)] = kind
    dense = any(is_dense(v) for v in values if v != NONE) or _is_dense_before(read, place)
    kinds = [KINDS[v] for v in values if v != NONE]
    kinds += [k for k in KINDS.values() if dense and is_dense(k.letter) and k not in kinds]
    for name, field_ in {f.name: f for k in kinds for f in k.fields()}.items():
        where = f"units.{place}" if name in own else "units"
        sized = [kind_.letter for kind_ in kinds if kind_.size_name() == name]
        chosen = own.get(name, general.get(name))
        if chosen is None:
            if sized:
                reader.fault(f"units.{name}", f"must be given: the size of {', '.join(sized)}")
            continue
        signs = field_.metadata.get("signs")
        if signs:
            setting = Setting(kind="choice", choices=tuple(signs), meaning="")
        elif isinstance(field_.default, bool):
            chosen = _as_numbers(chosen)
            setting = Setting(kind="integer", meaning="", low=0, high=1)
        else:
            setting = Setting(kind="integer", meaning="", low=1, high=LARGEST_SIZE)
        axis = _axis(reader, f"{where}.{name}", chosen, setting, in_widths=bool(sized))
        if axis is not None:
            read.axes[named(place, name)] = axis


def _is_dense_before(read: UnitTable, place: int) -> bool:
    """Whether the unit before may be all-to-all, so that this one must be."""
    before: Any = read.axes.get(named(place - 1, KIND))
    letters = before.values if before is not None else ()
    return any(is_dense(v) for v in letters if v != NONE) or (
        place > 2 and NONE in letters and _is_dense_before(read, place - 1)
    )


def _as_numbers(given: object) -> object:
    """Return true and false as 1 and 0, which params can hold."""
    if isinstance(given, list):
        return [int(v) if isinstance(v, bool) else v for v in given]
    if isinstance(given, dict):
        return {key: _as_numbers(value) for key, value in given.items()}
    return int(given) if isinstance(given, bool) else given


def _read_blocks(reader: Reader, read: UnitTable, general: Mapping[str, Any], most: int) -> None:
    if "per_block" not in general:
        return
    setting = Setting(kind="integer", meaning="", low=1, high=MOST_UNITS)
    if message := setting.fault(general["per_block"]):
        reader.fault("units.per_block", message)
        return
    read.axes[PER_BLOCK] = Fixed(value=general["per_block"])
    read.most_blocks = -(-most // general["per_block"])


def _axis(
    reader: Reader, name: str, given: object, setting: Setting, *, in_widths: bool = False
) -> Choice | Integer | Fixed | None:
    """Return the axis of a value, a list, or a range; None if it has a fault or is not given."""
    if given is None:
        return None
    if isinstance(given, dict) and ("values" in given or setting.kind == "integer"):
        return _described(reader, name, given, setting, in_widths)
    values = given if isinstance(given, list) else [given]
    if not isinstance(given, list):
        one = _axis(reader, name, [given], setting, in_widths=in_widths)
        return None if one is None else Fixed(value=one.values[0])
    if in_widths:
        texts = [v for v in values if isinstance(v, str)]
        for text in texts:
            if not _WIDTHS.fullmatch(text):
                reader.fault(
                    name, f"must be numbers, or multiples of the width like '2w', got {text!r}"
                )
                return None
        numbers = [v for v in values if not isinstance(v, str)]
        plain = reader.choice(name, numbers, setting, {}) if numbers or not texts else None
        if plain is None and not texts:
            return None
        return Choice(values=(*(plain.values if plain else ()), *dict.fromkeys(texts)))
    return reader.choice(name, values, setting, {})


def _described(
    reader: Reader, name: str, given: Mapping[str, Any], setting: Setting, in_widths: bool
) -> Choice | Integer | Fixed | None:
    """Return the axis of a range or of values with a prior."""
    known = ("values", "prior") if "values" in given else ("low", "high", "step", "log", "prior")
    faults = [key for key in given if key not in known]
    for key in faults:
        hint = nearest(key, known) or f"; known: {', '.join(known)}"
        reader.fault(f"{name}.{key}", f"is not a key of this axis{hint}")
    axis: Any = None
    if not faults and "values" in given:
        axis = _axis(reader, name, given["values"], setting, in_widths=in_widths)
    elif not faults:
        axis = reader.integer(name, given, setting, {})
    if axis is not None and "prior" in given:
        axis = reader.with_prior(name, given["prior"], axis)
    found: Choice | Integer | Fixed | None = axis
    return found

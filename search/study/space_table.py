"""The `[space]` table of a study file, read into a Space; every fault is collected."""

import dataclasses
import graphlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.study.axes import (
    MOST_VALUES,
    Axis,
    BlockAxis,
    Choice,
    ExitAxis,
    Fixed,
    Integer,
    PartitionAxis,
    Real,
    Value,
    When,
)
from search.study.space import EXIT_THRESHOLD, Space
from search.study.tables import text_fault
from search.study.unit_table import read_units
from search.study.units import is_part
from snn.settings.architecture import format_architecture, parse_architecture
from snn.settings.backbones import BACKBONES
from snn.settings.config import (
    PER_BLOCK,
    SETTINGS,
    Fault,
    Kind,
    Setting,
    current_names,
    nearest,
    unknown_setting,
)
from snn.settings.declared.network import DEFAULT_BACKBONE
from snn.settings.partition import format_partition, parse_partition
from snn.settings.setting import counted

_RANGE_KEYS = ("low", "high", "step", "log", "when", "per", "prior")
_CHOICE_KEYS = ("values", "when", "per", "prior")
_PARTITION_KEYS = ("max_blocks", "min_blocks", "when", "prior")
NO_EXIT = (
    "has no effect: with one block there is no early exit. "
    "Remove it, or set partition = { max_blocks = 2 }"
)
PARTITION = SETTINGS["partition"].meaning  # text with a form of its own
_PLACES = {name: place for place, name in enumerate(SETTINGS)}


class Reader:
    """Reads axes and collects their faults."""

    has_exits = True  # whether `exit_threshold` is a value for each exit

    def __init__(self, table: Mapping[str, object], run: Mapping[str, Any]) -> None:
        self.table = table
        self.run = run
        self.faults: list[Fault] = []
        self.sizes = self._sizes()

    def fault(self, key: str, message: str) -> None:
        self.faults.append(Fault(key=f"space.{key}", message=message))

    def _sizes(self) -> dict[str, int]:
        """Return the units of each architecture that a trial of this space can have, by title."""
        given = {**self.run, **self.table}
        if "units" in self.table:
            return {}  # known when the units are read
        key = "architecture" if given.get("architecture") else "backbone"
        value = given.get(key, DEFAULT_BACKBONE)
        if isinstance(value, dict):
            value = value.get("values")
        found = {}
        for title in value if isinstance(value, list) else [value]:
            if key == "backbone" and title in BACKBONES:
                found[title] = len(BACKBONES[title].units)
            elif key == "architecture" and isinstance(title, str) and not text_fault(key, title):
                found[title] = len(parse_architecture(title))
        return found

    @property
    def units(self) -> int:
        """Number of units that every architecture of the space has."""
        return min(self.sizes.values(), default=0)

    def axis(self, name: str, given: object) -> Axis | None:
        """Return one axis, or None and add at least one fault."""
        setting = self.setting(name, given)
        if setting is None:
            return None
        if name in self.run:
            self.fault(name, "is in [run] too; remove it from [run] or from [space]")
            return None
        faults = len(self.faults)
        axis = self._read(name, given, setting)
        if isinstance(given, dict) and "prior" in given and axis is not None:
            value = self._value(f"{name}.prior", given["prior"], setting)
            axis = None if value is None else self.with_prior(name, value, axis)
        if isinstance(given, dict) and "per" in given:
            axis = self._per_block(name, given["per"], axis)
        return axis if len(self.faults) == faults else None

    def with_prior(self, name: str, value: object, axis: Axis) -> Axis:
        """Return the axis with a value near which good ones are expected; add the fault of it."""
        if isinstance(axis, ExitAxis):
            each: Any = self.with_prior(name, value, axis.each)
            return dataclasses.replace(axis, each=each)
        if isinstance(axis, Fixed) or axis.size == 1:
            self.fault(f"{name}.prior", "must be left out: the axis has one value")
        elif message := axis.fault(value):
            self.fault(f"{name}.prior", message)
        else:
            return dataclasses.replace(axis, prior=value)  # type: ignore[arg-type]  # fault knows
        return axis

    def _per_block(self, name: str, per: object, axis: Axis | None) -> Axis | None:
        """Return the axis with a value for each block."""
        if per != "block":
            self.fault(f"{name}.per", f"must be 'block', got {per!r}")
        elif name not in PER_BLOCK:
            known = ", ".join(PER_BLOCK)
            self.fault(f"{name}.per", f"is possible for {known}; {name} is of the whole network")
        elif not {"partition", "units"} & self.table.keys() and "+" not in str(
            self.run.get("partition", "")
        ):
            message = "needs blocks: set partition = { max_blocks = 2 }, or a partition in [run]"
            self.fault(f"{name}.per", message)
        elif isinstance(axis, Real | Integer | Choice):
            each = dataclasses.replace(axis, when={})
            return BlockAxis(each=each, exits=0, when=axis.when)
        return None

    def check_architecture(self) -> None:
        """Add a fault if both a name and a text give the architecture, one of them in [space]."""
        if "units" in self.table:
            for name in ("backbone", "architecture", "partition"):
                is_cut = isinstance(u := self.table["units"], dict) and "per_block" in u
                place = "run" if name in self.run else "space" if name in self.table else ""
                if place and (name != "partition" or is_cut):
                    what = "per_block" if name == "partition" else "units"
                    self.fault("units", f"{what} and {name} in [{place}] contradict; remove one")
        names = ("backbone", "architecture")
        if all(name in self.run or name in self.table for name in names):
            for name in names:
                if name in self.table:
                    other = next(n for n in names if n != name)
                    place = "[run]" if other in self.run else "[space]"
                    self.fault(name, f"is given beside {other} in {place}; remove one of them")
                    return

    def setting(self, name: str, given: object) -> Setting | None:
        """Return what values an axis may have, or None and add a fault."""
        if name not in SETTINGS:
            self._unknown(name)
        return SETTINGS.get(name)

    def _unknown(self, name: str) -> None:
        if name.startswith(f"{EXIT_THRESHOLD}_"):
            self.fault(
                name, f"is not a setting of a run; use {EXIT_THRESHOLD}, one range for all exits"
            )
        else:
            self.fault(name, unknown_setting(name).message)

    def _read(self, name: str, given: object, setting: Setting) -> Axis | None:
        if isinstance(given, list):
            return self._for_exits(name, self.choice(name, given, setting, {}))
        if not isinstance(given, dict):
            value = self._value(name, given, setting)
            return None if value is None else Fixed(value=value)
        when = self._when(name, given.get("when", {}))
        if "values" in given:
            self._check_keys(name, given, _CHOICE_KEYS)
            return self._for_exits(name, self.choice(name, given["values"], setting, when))
        if setting.meaning == PARTITION:
            return self._partition(given, when)
        if setting.kind in ("choice", "text"):
            allowed = f" from {', '.join(setting.choices)}" if setting.choices else ""
            self.fault(name, f"must be a list of choices{allowed}, got {_shown(given)}")
            return None
        if setting.kind == "integer":
            return self.integer(name, given, setting, when)
        return self._for_exits(name, self._real(name, given, setting, when))

    def _check_keys(self, name: str, given: Mapping[str, object], known: Sequence[str]) -> None:
        for key in given:
            if key not in known:
                hint = nearest(key, known) or f"; known: {', '.join(known)}"
                self.fault(f"{name}.{key}", f"is not a key of this axis{hint}")

    def _value(self, key: str, value: object, setting: Setting) -> Value | None:
        """Return `value` in the type of the setting, or None and add a fault."""
        message = setting.fault(value)
        if not message and setting.meaning == PARTITION:
            message = self._partition_fault(str(value))
        message = message or text_fault(key, value)
        if message:
            self.fault(key, message)
            return None
        assert isinstance(value, int | float | str)
        if setting.meaning == PARTITION:
            return format_partition(parse_partition(str(value)))
        if key == "architecture":
            return format_architecture(parse_architecture(str(value)))
        return float(value) if setting.kind in ("real", "reals") else setting.current(value)

    def _partition_fault(self, text: str) -> str | None:
        try:
            blocks = parse_partition(text)
        except ValueError as error:
            return str(error)
        if not self.sizes or sum(blocks) <= self.units:
            return None
        smallest = min(self.sizes, key=lambda title: self.sizes[title])
        return (
            f"must cover at most the {counted(self.units, 'unit')} of {smallest}, "
            f"got {text!r} with {sum(blocks)}"
        )

    def choice(self, name: str, given: object, setting: Setting, when: When) -> Choice | None:
        if not isinstance(given, list) or not given:
            self.fault(name, f"must have a list of at least one value, got {_shown(given)}")
            return None
        values = [self._value(name, value, setting) for value in given]
        kept = [value for value in values if value is not None]
        repeated = sorted({str(value) for value in kept if kept.count(value) > 1})
        if repeated:
            self.fault(name, f"must name each value once, got {', '.join(repeated)} repeatedly")
        return Choice(values=tuple(kept), when=when)

    def _bounds(self, name: str, given: Mapping[str, object], setting: Setting) -> bool:
        """Whether low and high are given, valid and in order."""
        faults = len(self.faults)
        for key in ("low", "high"):
            if key not in given:
                self.fault(f"{name}.{key}", "must be given: an axis has low and high, or values")
            elif message := setting.fault(given[key]):
                self.fault(f"{name}.{key}", message)
        if not isinstance(given.get("log", False), bool):
            self.fault(f"{name}.log", f"must be true or false, got {given['log']!r}")
        if len(self.faults) > faults:
            return False
        low, high, log = _number(given["low"]), _number(given["high"]), given.get("log", False)
        if low > high:
            self.fault(f"{name}.low", f"must be at most high ({given['high']}), got {given['low']}")
        if log and low <= 0:
            self.fault(f"{name}.low", f"must be above 0 with log = true, got {given['low']}")
        if log and "step" in given:
            self.fault(f"{name}.step", f"must be left out with log = true, got {given['step']!r}")
        return len(self.faults) == faults

    def _step(self, name: str, given: Mapping[str, object], setting: Setting) -> bool:
        """Whether the step, if given, is positive."""
        kind: Kind = "integer" if setting.kind == "integer" else "real"
        allowed = Setting(kind=kind, meaning="", low=0, open_low=True)
        message = allowed.fault(given.get("step", 1))
        if message:
            self.fault(f"{name}.step", message)
        return message is None

    def _range(self, name: str, given: Mapping[str, object], setting: Setting) -> bool:
        """Whether `given` is a valid range; otherwise add its faults."""
        self._check_keys(name, given, _RANGE_KEYS)
        is_stepped = self._step(name, given, setting)
        if not self._bounds(name, given, setting) or not is_stepped:
            return False
        span = _number(given["high"]) - _number(given["low"])
        step = _number(given.get("step", 1 if setting.kind == "integer" else span or 1))
        if "step" in given and step > span * (1 + 1e-9):
            self.fault(f"{name}.step", f"must be at most high - low, got {given['step']}")
        smallest = math.ulp(max(abs(given["low"]), abs(given["high"])))  # type: ignore[arg-type]
        if setting.kind != "integer" and step < smallest:
            self.fault(f"{name}.step", f"must be at least {smallest:.2g} here, got {given['step']}")
            return False
        if span / step >= MOST_VALUES:
            key = "step" if "step" in given else "high"
            self.fault(f"{name}.{key}", f"must leave at most {MOST_VALUES} values")
            return False
        return True

    def integer(
        self, name: str, given: Mapping[str, Any], setting: Setting, when: When
    ) -> Integer | None:
        if not self._range(name, given, setting):
            return None
        low, high = given["low"], given["high"]
        step, log = given.get("step", 1), given.get("log", False)
        return Integer(low=low, high=high, step=step, log=log, when=when)

    def _real(
        self, name: str, given: Mapping[str, Any], setting: Setting, when: When
    ) -> Real | None:
        if not self._range(name, given, setting):
            return None
        low, high = float(given["low"]), float(given["high"])
        step, log = given.get("step"), given.get("log", False)
        step = None if step is None else float(step)
        return Real(low=low, high=high, step=step, log=log, when=when)

    def _for_exits(self, name: str, each: Real | Choice | None) -> Axis | None:
        if each is None or not self.has_exits or name != EXIT_THRESHOLD:
            return each
        when, plain = each.when, dataclasses.replace(each, when={})
        return ExitAxis(
            each=plain, exits=0, when=when
        )  # their number is known when all axes are read

    def _partition(self, given: Mapping[str, Any], when: When) -> PartitionAxis | None:
        self._check_keys("partition", given, _PARTITION_KEYS)
        if len(set(self.sizes.values())) > 1:
            self.fault(
                "partition",
                "must be a list of partitions where the architectures differ in units "
                f"({', '.join(self.sizes)}), got {_shown(given)}",
            )
        if "max_blocks" not in given:
            self.fault("partition.max_blocks", "must be given: the most blocks that a trial has")
        for key in ("max_blocks", "min_blocks"):
            self._block_count(key, given)
        most, least = given.get("max_blocks"), given.get("min_blocks", 1)
        if any(fault.key.startswith("space.partition") for fault in self.faults):
            return None
        assert isinstance(most, int)
        assert isinstance(least, int)
        if least > most:
            message = f"must be at most max_blocks ({most}), got {least}"
            self.fault("partition.min_blocks", message)
        return PartitionAxis(max_blocks=most, min_blocks=least, units=self.units, when=when)

    def _block_count(self, key: str, given: Mapping[str, Any]) -> None:
        if key not in given:
            return
        message = Setting(kind="integer", meaning="", low=1).fault(given[key])
        if not message and self.sizes and given[key] > self.units:
            title = next(iter(self.sizes))
            message = (
                f"must be at most the {counted(self.units, 'unit')} of {title}, got {given[key]}"
            )
        if message:
            self.fault(f"partition.{key}", message)

    def _when(self, name: str, given: object) -> When:
        """Return the condition as values by axis; `check_conditions` checks them."""
        if not isinstance(given, dict):
            self.fault(
                f"{name}.when", f"must be like {{ space_rule = 'block-local' }}, got {given!r}"
            )
            return {}
        return {
            o: tuple(v) if isinstance(v, list) else (v,) for o, v in current_names(given).items()
        }

    def check_conditions(self, axes: Mapping[str, Axis]) -> None:
        """Add the faults of conditions on missing axes or on values that are never taken."""
        for name, axis in axes.items():
            for other, values in axis.when.items():
                self._check_condition(f"{name}.when.{other}", other, values, axes)

    def _check_condition(
        self, key: str, other: str, values: Sequence[Value], axes: Mapping[str, Axis]
    ) -> None:
        if other not in self.table:
            hint = "; it is fixed in [run]" if other in self.run else nearest(other, self.table)
            self.fault(key, f"must name an axis of [space], {other!r} is none{hint}")
            return
        target = axes.get(other)
        if isinstance(target, ExitAxis) or (isinstance(target, Real) and not target.values):
            self.fault(key, f"must name an axis with separate values, {other} is continuous")
        elif target is not None:
            for value in values:
                if message := target.fault(value):
                    self.fault(key, message)

    def order(self, axes: Mapping[str, Axis]) -> tuple[str, ...]:
        """Return the axes, each after those it depends on; a cycle is a fault."""
        after = {name: [o for o in axis.when if o in axes] for name, axis in axes.items()}
        parts = [name for name in axes if is_part(name)]
        for name, axis in axes.items():
            if isinstance(axis, ExitAxis):  # their number follows from these
                after[name] += [n for n in ("partition", *parts) if n in axes]
        for name, earlier in zip(parts, ["width", *parts], strict=False):
            after[name] += [earlier] if earlier in axes else []
        sorter = graphlib.TopologicalSorter(after)
        try:
            return tuple(sorter.static_order())
        except graphlib.CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            self.fault(f"{error.args[1][0]}.when", f"must not form a cycle: {circle}")
            return ()


def _number(value: object) -> int | float:
    assert isinstance(value, int | float)
    return value


def _shown(value: object) -> str:
    """Return a value as TOML shows it."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_shown(item)}' for key, item in value.items())} }}"
    return repr(value)


def _exits(axes: Mapping[str, Axis], run: Mapping[str, Any]) -> tuple[int, int]:
    """Return the exits before the last: of a fixed partition, and the largest number."""
    partition = axes.get("partition")
    if partition is None:
        text = run.get("partition", "")
        try:
            fixed = len(parse_partition(text)) - 1 if text else 0
        except (ValueError, AttributeError):
            fixed = 0  # the fault of [run] is reported there
        return fixed, fixed
    assert not isinstance(partition, ExitAxis)
    blocks = (len(parse_partition(str(value))) for value in partition.values)
    return 0, max(blocks, default=1) - 1


def read_space(table: object, run: Mapping[str, Any]) -> tuple[Space | None, list[Fault]]:
    """Read the `[space]` table; return the space and the faults.

    `run` are the shared settings. The space is None if and only if there are faults.
    """
    if not isinstance(table, dict) or not table:
        message = "must be a table with at least one axis"
        return None, [Fault(key="space", message=message)]
    reader = Reader(table, run)
    reader.check_architecture()
    # In the order of SETTINGS: how a file is written changes nothing that is drawn.
    units = None
    if "units" in table:
        units = read_units(reader, table["units"], run)
        reader.sizes = {"[space.units]": units.least} if units.least else {}
    names = sorted(
        (name for name in table if name != "units"),
        key=lambda name: _PLACES.get(name, len(_PLACES)),
    )
    read = {name: reader.axis(name, table[name]) for name in names}
    axes = {name: axis for name, axis in read.items() if axis is not None}
    if units is not None:
        axes |= units.axes
    reader.check_conditions(axes)
    order = reader.order(axes)
    fixed, most = (
        _exits(axes, run) if units is None or not units.most_blocks else (0, units.most_blocks - 1)
    )
    for name, axis in axes.items():
        if isinstance(axis, ExitAxis):
            axes[name] = dataclasses.replace(axis, exits=most + axis.more)
    has_exits = most > 0 or read.get("partition", "") is None or not reader.sizes
    if isinstance(axes.get(EXIT_THRESHOLD), ExitAxis) and not has_exits:
        reader.fault(EXIT_THRESHOLD, NO_EXIT)
    if reader.faults:
        return None, list(dict.fromkeys(reader.faults))  # units share what is wrong
    unit_space = None if units is None else units.space(axes, run)
    return Space(axes=axes, order=order, fixed_exits=fixed, unit_space=unit_space), []

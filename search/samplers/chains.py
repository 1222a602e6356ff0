"""Networks as chains of units, in numbers that a model can read.

Where blocks are trained one after another, what the first of them measure depends on what all
share and on the units so far, each behind the one before it. A training whose blocks are trained
together, or a function of the user's, is a chain of one unit.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any

from search.samplers.features import encoded
from search.samplers.prefixes import is_operating
from search.study.axes import PlainAxis, Value
from search.study.study import Study
from search.study.units import COUNT, KIND, NONE, PER_BLOCK, place_of
from search.trial.trial import Params
from snn.settings.config import PER_BLOCK as BLOCK_SETTINGS
from snn.settings.partition import parse_partition

Key = tuple[object, ...]  # what the first blocks of a network depend on
Row = tuple[float, ...]  # numbers from 0 to about 1

PARTITION = "partition"
_LISTED = re.compile(r"([a-z_]+)_([0-9]+)")


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A network as numbers."""

    shared: Row  # what all its blocks share
    units: tuple[Row, ...]  # each with the one before it
    ends: tuple[int, ...]  # units of the first block, the first two, and so on
    keys: tuple[Key, ...]  # of the first block, the first two, and so on
    epochs: int  # of each block
    is_whole: bool  # no unit is left out; otherwise exits are after other units than it seems


class Chains:
    """The networks of a study as chains."""

    def __init__(self, study: Study) -> None:
        self._run = study.run
        self._is_own = study.train is not None
        self._is_joint = (
            self._is_own
            or "space_rule" in study.space.axes
            or study.run.get("space_rule") == "end-to-end"
        )
        # what names and values of params stand for is asked for again and again
        self._place = functools.cache(self._found_place)
        self._encoded = functools.lru_cache(maxsize=65_536)(self._code)
        axes: Any = study.space.axes
        self._step: int = (
            max(axes[PER_BLOCK].values) if PER_BLOCK in axes and not self._is_own else 0
        )
        self._shared: dict[str, PlainAxis] = {}
        self._own: dict[str, PlainAxis] = {}  # of each unit, by its name there
        for name, axis in study.space.dimensions().items():
            if self.is_operating(name) or (name in (COUNT, PARTITION) and not self._is_joint):
                continue
            place = self._place(name)
            if place is None:
                self._shared[name] = axis
            else:
                self._own.setdefault(place[2], axis)

    def of(self, params: Params) -> Chain:
        """Return the network of a configuration."""
        cuts = self._cuts(params)
        common: list[tuple[str, Value]] = []
        own: list[dict[tuple[int, str], Value]] = [{} for _ in cuts]
        for name, value in params.items():
            if self.is_operating(name) or name in (COUNT, PER_BLOCK, PARTITION):
                continue
            place = self._place(name)
            if place is None:
                common.append((name, value))
            elif place[0] <= len(cuts):
                own[place[0] - 1][place[1], place[2]] = value
        if self._is_joint:
            common += [(n, params[n]) for n in (COUNT, PER_BLOCK, PARTITION) if n in params]
        shared: list[float] = []
        for name, axis in self._shared.items():
            shared += encoded(axis, params.get(name))
        units: list[Row] = []
        key: list[object] = [tuple(common)]
        ends, keys = [], []
        before: dict[str, Value] = {}
        for block, (count, values) in enumerate(zip(cuts, own, strict=True)):
            for place_there in range(count):
                here = {n: v for (at, n), v in values.items() if at in (-1, place_there)}
                first = [len(units) / 8, float(not units), block / 8, count / 4, place_there / 4]
                units.append(self._row(first, here, before))
                before = here
            key.append((count, tuple(values.items())))
            keys.append(tuple(key))
            ends.append(len(units))
        epochs = int(params.get("epochs", self._run.get("epochs", 1)))
        return Chain(
            shared=tuple(shared),
            units=tuple(units),
            ends=tuple(ends),
            keys=tuple(keys),
            epochs=epochs,
            is_whole=self._is_joint
            or all(v != NONE for n, v in params.items() if n.endswith(f"_{KIND}")),
        )

    def is_operating(self, name: str) -> bool:
        """Whether a value decides nothing about the training; to a function all mean something."""
        return not self._is_own and is_operating(name)

    def _row(self, row: list[float], here: Params, before: Params) -> Row:
        for name in self._own:
            row += self._encoded(name, here.get(name))
            row += self._encoded(name, before.get(name))
        return tuple(row)

    def _code(self, name: str, value: Value | None) -> tuple[float, ...]:
        return tuple(encoded(self._own[name], value))

    def _cuts(self, params: Params) -> tuple[int, ...]:
        """Return the units of each block; one of one unit where blocks are not apart."""
        if self._is_joint:
            return (1,)
        if PER_BLOCK in params:  # units that are left out keep their places
            most, units = int(params[PER_BLOCK]), int(params[COUNT])
            return tuple(min(most, units - first) for first in range(0, units, most))
        text = params.get(PARTITION, self._run.get(PARTITION))
        return parse_partition(str(text)) if text else (1,)

    def _found_place(self, name: str) -> tuple[int, int, str] | None:
        """Return the block from 1, the unit of it from 0, and the name that a value has there.

        The unit is -1 for a value of the whole block; None for one that all share.
        """
        if self._is_joint:
            return None
        found = place_of(name)
        if found is not None and self._step:
            block, unit = divmod(found[0] - 1, self._step)
            return block + 1, unit, found[1]
        listed = _LISTED.fullmatch(name)
        if listed is not None and listed[1] in BLOCK_SETTINGS:
            return int(listed[2]), -1, listed[1]
        return None

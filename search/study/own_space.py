"""The `[space]` of an own training: axes of any names, whose kinds follow from their values."""

import re
from collections.abc import Mapping
from typing import Any

from search.study.axes import Value
from search.study.own_training import json_fault, renamed_fault
from search.study.space import Space
from search.study.space_table import Reader
from snn.settings.config import Fault, Setting

_NAME = re.compile(r"[A-Za-z_]\w*")
_ANY = Setting(kind="text", meaning="text, a number, true or false")
_WHOLE = Setting(kind="integer", meaning="", low=-(2**31))
_REAL = Setting(kind="real", meaning="", low=-1e30)
_SEED = Setting(kind="integer", meaning="", low=0)
_EPOCHS = Setting(kind="integer", meaning="", low=1)


class _OwnReader(Reader):
    """Reads axes whose settings are those of a user's function."""

    has_exits = False

    def setting(self, name: str, given: object) -> Setting | None:
        """Return the kind of an axis: integers if all its bounds are, otherwise reals."""
        if not _NAME.fullmatch(name) or name == "train":
            message = "must be named by letters, digits and '_'"
            self.fault(name, "is no axis" if name == "train" else message)
            return None
        if name in ("seed", "epochs"):
            return _SEED if name == "seed" else _EPOCHS
        if not isinstance(given, Mapping) or "values" in given:
            return _ANY
        bounds = [given[key] for key in ("low", "high", "step") if key in given]
        return _WHOLE if all(type(bound) is int for bound in bounds) else _REAL

    def _value(self, key: str, value: object, setting: Setting) -> Value | None:
        if setting is not _ANY:
            return super()._value(key, value, setting)
        if isinstance(value, int | float | str) and json_fault(value) is None:
            name = key.partition(".")[0]
            if message := renamed_fault(name, value):
                self.fault(key, message)
                return None
            return value
        message = f"must be text, a number, true or false, got {value!r}; name it by a text"
        self.fault(key, message)
        return None


def read_own_space(table: object, run: Mapping[str, Any]) -> tuple[Space | None, list[Fault]]:
    """Read the `[space]` table of an own training; return the space and the faults."""
    if not isinstance(table, dict) or not table:
        message = "must be a table with at least one axis"
        return None, [Fault(key="space", message=message)]
    reader = _OwnReader(table, run)
    # in the order of their names: how a file is written changes nothing that is drawn
    read = {name: reader.axis(name, table[name]) for name in sorted(table)}
    axes = {name: axis for name, axis in read.items() if axis is not None}
    reader.check_conditions(axes)
    order = reader.order(axes)
    if reader.faults:
        return None, reader.faults
    return Space(axes=axes, order=order), []

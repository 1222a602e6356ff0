"""Settings: what a field may be and what it means, declared where the field is."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["integer", "real", "choice", "text", "reals", "flag"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing wrong: the setting it concerns and what to do about it."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key} {self.message}"


class ConfigError(ValueError):
    """A run config that cannot be; `faults` lists everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field of RunConfig may be, and what it means."""

    kind: Kind
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False  # the bound itself is excluded
    open_high: bool = False
    choices: tuple[str, ...] = ()
    operating: bool = False  # chosen at inference; changes nothing that is trained

    def fault(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if self.kind in ("integer", "real"):
            return self._number_fault(value)
        if self.kind == "flag":
            return None if isinstance(value, bool) else f"must be true or false, got {value!r}"
        if self.kind == "reals":
            values = value if isinstance(value, tuple) else (value,)
            return next((m for v in values if (m := self._number_fault(v))), None)
        if not isinstance(value, str):
            return f"must be a string, got {value!r}"
        if self.kind == "choice" and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, got {value!r}" + nearest(
                value, self.choices
            )
        return None

    def _number_fault(self, value: object) -> str | None:
        number = int if self.kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, number):
            return f"must be {'an integer' if number is int else 'a number'}, got {value!r}"
        assert isinstance(value, int | float)
        if not math.isfinite(value):
            return f"must be finite, got {value}"
        if value < self.low or (self.open_low and value == self.low):
            return f"must be {'above' if self.open_low else 'at least'} {self.low:g}, got {value}"
        if value > self.high or (self.open_high and value == self.high):
            return f"must be {'below' if self.open_high else 'at most'} {self.high:g}, got {value}"
        return None


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a known name is close, otherwise nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choice(default: str, choices: Iterable[str], meaning: str, *, operating: bool = False) -> Any:
    """A dataclass field that takes one of several names."""
    setting = Setting(kind="choice", choices=tuple(choices), meaning=meaning, operating=operating)
    return dataclasses.field(default=default, metadata={"setting": setting})


def integer(default: int | None, meaning: str, *, low: int, operating: bool = False) -> Any:
    """A dataclass field that takes whole numbers; a default of None is filled in by its class."""
    setting = Setting(kind="integer", low=low, meaning=meaning, operating=operating)
    return dataclasses.field(default=default, metadata={"setting": setting})


def real(default: float | None, meaning: str, **bounds: Any) -> Any:
    """A dataclass field that takes real numbers; `bounds` as in Setting."""
    setting = Setting(kind="real", meaning=meaning, **bounds)
    return dataclasses.field(default=default, metadata={"setting": setting})

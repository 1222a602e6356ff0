"""Setting: the allowed values and the meaning of one field, declared where the field is."""

import dataclasses
import difflib
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["integer", "real", "choice", "text", "reals", "flag"]

LARGEST: dict[str, int | float] = {"integer": 2**31 - 1, "real": 1e30, "reals": 1e30}
"""Bounds of numbers without a `high`: they fit into a 32-bit integer and into a float32."""

USUAL = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "opt": "optimizer",
    "t": "timesteps",
    "tau": "leak",
    "beta": "leak",
    "decay": "leak",
    "thr": "threshold",
    "vth": "threshold",
    "v_th": "threshold",
    "arch": "architecture",
    "channels": "width",
    "sparsity": "target_sparsity",
    "acc": "accuracy",
    "ops": "synaptic_ops",
    "sops": "synaptic_ops",
    "mem": "training_memory_bytes",
    "memory": "training_memory_bytes",
    "size": "model_bytes",
    "latency": "latency_steps",
    "spikes": "spikes_per_inference",
    "cpus": "cpus_per_trial",
    "gpus": "gpus_per_trial",
    "n_jobs": "workers",
    "pruner": "stopping",
}
"""What others call our settings and metrics, where the spelling alone does not tell."""


class AboveZero:
    """The numbers above 0, as values with which another setting applies."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and value > 0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: the key of a setting, and what to do about its value."""

    key: str
    message: str

    def __str__(self) -> str:
        # a message with a place in a text begins with its colon
        return f"{self.key}{'' if self.message.startswith(':') else ' '}{self.message}"


class ConfigError(ValueError):
    """An invalid run config; `faults` lists every fault of it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in faults))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The allowed values of a field and its meaning."""

    kind: Kind
    meaning: str
    low: float = -math.inf
    high: float = math.inf  # infinite: LARGEST
    open_low: bool = False  # the bound itself is excluded
    open_high: bool = False
    choices: tuple[str, ...] = ()
    unknown: str = ""  # advice for a choice that is neither known nor similar to a known one
    earlier: Mapping[str, str] = field(default_factory=dict)  # former names of choices, still read
    operating: bool = False  # chosen at inference; changes nothing that is trained
    per_block: bool = False  # may be a list, one number for each block
    # value that means "as without this setting": it enters no file and no fingerprint, so that
    # stored runs keep their names when a setting is added
    without: Any = None
    # other settings -> the values with which this one applies; without them it has its default
    only_with: Mapping[str, Container[Any]] = field(default_factory=dict)

    def current(self, value: Any) -> Any:
        """Return `value` as configs hold it: a real as float, a choice by its current name."""
        if self.per_block and isinstance(value, tuple | list):
            return tuple(self.current(one) for one in value)
        if (
            self.kind in ("real", "reals")
            and type(value) is int
            and abs(value) <= LARGEST[self.kind]
        ):
            return float(value)
        return self.earlier.get(value, value) if isinstance(value, str) else value

    def applies(self, value: Any) -> bool:
        """Return whether `value` says anything: whether it enters files and fingerprints."""
        return self.without is None or value != self.without

    def first_name(self, value: Any) -> Any:
        """Return a choice by the name that it had first: fingerprints are made of those."""
        firsts = {current: first for first, current in self.earlier.items()}
        return firsts.get(value, value) if isinstance(value, str) else value

    def fault(self, value: object) -> str | None:
        """Return the fault of `value` as a message, or None."""
        if not self.applies(value):
            return None
        if self.per_block and isinstance(value, tuple | list):
            return next((m for v in value if (m := self._number_fault(v))), None)
        if self.kind in ("integer", "real"):
            return self._number_fault(value)
        if self.kind == "flag":
            return None if isinstance(value, bool) else f"must be true or false, got {value!r}"
        if self.kind == "reals":
            values = value if isinstance(value, tuple) else (value,)
            return next((m for v in values if (m := self._number_fault(v))), None)
        if not isinstance(value, str):
            return f"must be a string, got {shown(value)}"
        if self.kind == "choice" and self.current(value) not in self.choices:
            hint = nearest(value, self.choices) or self.unknown
            return f"must be one of {', '.join(self.choices)}, got {value!r}{hint}"
        return None

    def _number_fault(self, value: object) -> str | None:
        number = int if self.kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, number):
            return f"must be {'an integer' if number is int else 'a number'}, got {shown(value)}"
        assert isinstance(value, int | float)
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {value}"
        if value < self.low or (self.open_low and value == self.low):
            must = f"{'above' if self.open_low else 'at least'} {_bound(self.low)}"
            return f"must be {must}, got {shown(value)}"
        high = LARGEST[self.kind] if self.high == math.inf else self.high
        if value > high or (self.open_high and value == high):
            must = f"{'below' if self.open_high else 'at most'} {_bound(high)}"
            return f"must be {must}, got {shown(value)}"
        return None


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def shown(value: object) -> str:
    """Return `value` for a message; of an integer with many digits only their number."""
    if type(value) is int and abs(value) >= 10**30:
        return f"an integer of about {int(value.bit_length() * math.log10(2)) + 1:,} digits"
    return str(value) if isinstance(value, int | float) else repr(value)


def counted(count: float, noun: str, several: str = "") -> str:
    """Return a count with its noun: 1 block, 2 blocks, 0.5 processors; 2 studies by `several`."""
    shown = f"{count:,}" if isinstance(count, int) else f"{count:,.12g}"
    return f"{shown} {noun if count == 1 else several or f'{noun}s'}"


def all_of(count: int, noun: str) -> str:
    """Return `all 2 trials`, or `the only trial`."""
    return f"the only {noun}" if count == 1 else f"all {counted(count, noun)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` if a known name is similar, otherwise an empty string."""
    names = list(known)
    usual = USUAL.get(name.casefold())
    close = [usual] if usual in names else difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def choice(default: str, choices: Iterable[str], meaning: str, **options: Any) -> Any:
    """Declare a dataclass field that takes one of several names; `options` as in Setting."""
    setting = Setting(kind="choice", choices=tuple(choices), meaning=meaning, **options)
    return dataclasses.field(default=default, metadata={"setting": setting})


def integer(default: int | None, meaning: str, **options: Any) -> Any:
    """Declare a dataclass field that takes integers; its class fills in a default of None."""
    setting = Setting(kind="integer", meaning=meaning, **options)
    return dataclasses.field(default=default, metadata={"setting": setting})


def real(default: float | None, meaning: str, **options: Any) -> Any:
    """Declare a dataclass field that takes real numbers; `options` as in Setting."""
    setting = Setting(kind="real", meaning=meaning, **options)
    return dataclasses.field(default=default, metadata={"setting": setting})


def fraction(default: float | None, meaning: str, **options: Any) -> Any:
    """Declare a dataclass field that takes numbers from 0 to 1; `options` as in Setting."""
    return real(default, meaning, low=0, high=1, **options)

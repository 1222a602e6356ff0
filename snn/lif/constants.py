"""Constants of the recurrence, common to all bodies of the operator."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SURROGATE_IDS = {"atan": 0, "triangular": 1, "sigmoid": 2, "fast-sigmoid": 3}
"""Surrogates of the compiled bodies; a surrogate without a number runs in the eager body."""


CONSTANTS = (
    "float leak, float threshold, float fire, bool is_hard, float scale, str surrogate, float slope"
)
"""The fields of `Constants` as arguments of an operator."""


class _Values:
    """A dataclass of plain values."""

    def values(self) -> Iterable[Any]:
        """Return the values in the order of the fields; `astuple` would copy each one."""
        return vars(self).values()


@dataclass(frozen=True, kw_only=True)
class Constants(_Values):
    """Constants of one population, see `snn.network.neurons.Lif`."""

    leak: float
    threshold: float  # what a soft reset subtracts
    fire: float  # lowest potential at which a neuron fires
    is_hard: bool
    scale: float  # factor of the distance to `fire` in the argument of the surrogate
    surrogate: str
    slope: float

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Constants":
        """Return constants from values in the order of the fields."""
        return cls(**dict(zip(cls.__dataclass_fields__, values, strict=True)))

    def learned(self, values: Tensor | None) -> "Constants":
        """Return constants with leak, threshold, fire and scale from a tensor (4,), if given."""
        if values is None:
            return self
        numbers: list[Any] = list(values.unbind())  # scalar tensors are used like numbers
        return replace(
            self, leak=numbers[0], threshold=numbers[1], fire=numbers[2], scale=numbers[3]
        )

    def each(self, leaks: Tensor | None, one: Tensor) -> "Constants":
        """Return constants with a leak for each neuron or channel of `one` (batch, n, ...).

        `leaks` (n,) are in the type of potentials; None leaves the constants as they are.
        """
        if leaks is None:
            return self
        each: Any = leaks.view(-1, *[1] * (one.dim() - 2))
        return replace(self, leak=each)


@dataclass(frozen=True, kw_only=True)
class Adaptation(_Values):
    """What adaptive neurons have beside the constants of LIF neurons."""

    rise: float  # of the threshold with each spike
    decay: float  # factor of the rise per timestep
    height: float  # factor of the surrogate derivative


def factors(by: Constants) -> tuple[float, float]:
    """Return the two factors of the surrogate that compiled bodies take."""
    if by.surrogate == "atan":
        return by.slope / 2, math.pi / 2 * by.slope
    return by.slope, 0.0


def state_type(dtype: torch.dtype) -> torch.dtype:
    """Return the type of potentials for currents of a type: at least single precision."""
    return torch.promote_types(dtype, torch.float32)


def just_above(value: float, dtype: torch.dtype) -> float:
    """Return the smallest number of the type above `value`, so that h > value is h >= result."""
    at = torch.tensor(value, dtype=dtype)
    return float(torch.nextafter(at, torch.full_like(at, math.inf)))

"""The constants of a recurrence, as every body of the operator gets them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SURROGATE_IDS = {"atan": 0, "triangular": 1, "sigmoid": 2, "fast-sigmoid": 3}
"""How compiled bodies call the surrogates."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Numbers of one population; see `snn.network.neurons.Lif` for what they mean."""

    leak: float
    threshold: float  # what a soft reset subtracts
    fire: float  # potential from which a neuron fires
    is_hard: bool
    scale: float  # of the distance to `fire` that the surrogate sees
    surrogate: str
    slope: float

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Constants":
        """From the values in the order of the fields."""
        return cls(**dict(zip(cls.__dataclass_fields__, values, strict=True)))

    def learned(self, values: Tensor | None) -> "Constants":
        """With leak, threshold, fire and scale as tensors on their device, where there are any."""
        if values is None:
            return self
        numbers: list[Any] = list(values.unbind())  # tensors do here as numbers do
        return replace(
            self, leak=numbers[0], threshold=numbers[1], fire=numbers[2], scale=numbers[3]
        )


def factors(by: Constants) -> tuple[float, float]:
    """The slope and the inner factor of the surrogate, as compiled bodies get them."""
    if by.surrogate == "atan":
        return by.slope / 2, math.pi / 2 * by.slope
    return by.slope, 0.0


def state_type(dtype: torch.dtype) -> torch.dtype:
    """The type of potentials for currents of a type: never below single precision."""
    return torch.promote_types(dtype, torch.float32)


def just_above(value: float, dtype: torch.dtype) -> float:
    """The smallest number of the type above `value`: h > value exactly where h >= it."""
    at = torch.tensor(value, dtype=dtype)
    return float(torch.nextafter(at, torch.full_like(at, math.inf)))

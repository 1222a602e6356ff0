"""The constants of a recurrence, as every body of the operator gets them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Numbers of one population; see `snn.neurons.Lif` for what they mean."""

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


def just_above(value: float, dtype: torch.dtype) -> float:
    """The smallest number of the type above `value`: h > value exactly where h >= it."""
    at = torch.tensor(value, dtype=dtype)
    return float(torch.nextafter(at, torch.full_like(at, math.inf)))

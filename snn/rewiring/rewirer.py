"""What every form of rewiring is, and what the forms share."""

import math
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from snn.network.layers import Connections
from snn.network.parametrizations import (
    MaskParametrization,
    SoftThresholdParametrization,
    StrengthParametrization,
)

REVIVED = 1e-8
"""Strength of a connection that comes back, or must exist although its own fell below zero."""


class Rewirer(Protocol):
    """Decides around every optimizer step which connections exist.

    `step` counts from 1 to `steps`; `learning_rate` is the one that the step uses.
    """

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """With the gradients known and the strengths as they were."""

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """With the strengths as the optimizer left them."""


class Ramp:
    """How sparsity rises: after a share u of the ramp it is target * (1 - (1 - u)^3).

    The target itself from the end of the ramp on (Zhu & Gupta 2017); set every
    `every` steps and at the last.
    """

    def __init__(self, *, target: float, ramp: float, every: int) -> None:
        self.target, self.ramp, self.every = target, ramp, every

    def sparsity(self, step: int, steps: int) -> float | None:
        """What share of connections has to be missing now; None between updates."""
        if step % self.every and step != steps:
            return None
        done = min(step / steps / self.ramp, 1)
        return self.target * (1 - (1 - done) ** 3)


def missing_of(sparsity: float, connections: Sequence[Connections]) -> int:
    """Connections that have to be missing."""
    return round(sparsity * sum(conn.weight.numel() for conn in connections))


def kth_smallest(values: Tensor, k: int) -> Tensor:
    """The k-th smallest of a vector, counted from 1, as a tensor that stays on its device.

    Minus infinity (of integers, the least) for k = 0: everything is larger.
    """
    if k == 0:
        least = -math.inf if values.is_floating_point() else -1
        return values.new_full((), least)
    if values.is_cuda:  # where selecting has no deterministic form, sorting has
        return values.sort().values[k - 1]
    return values.kthvalue(k).values


def step_size(learning_rate: float, beta: float, step: int) -> float:
    """Adam's bias-corrected step eta / (1 - beta1^k); eta itself with beta = 0."""
    return learning_rate / (1 - beta**step)


def strength_gate(conn: Connections) -> StrengthParametrization:
    """The gate of connections that have strengths and a cut."""
    assert isinstance(conn.gate, StrengthParametrization)
    return conn.gate


def mask_gate(conn: Connections) -> MaskParametrization:
    """The gate of connections that have a mask."""
    assert isinstance(conn.gate, MaskParametrization)
    return conn.gate


def soft_gate(conn: Connections) -> SoftThresholdParametrization:
    """The gate of connections that have a soft threshold."""
    assert isinstance(conn.gate, SoftThresholdParametrization)
    return conn.gate

"""Surrogate gradients: replacements for the derivative of a spike (Neftci et al. 2019).

A spike is a step function of x = membrane potential - threshold; its derivative is zero
almost everywhere. A surrogate is the derivative of a smooth step, stored together with that
step (`primitive`), so that tests can compare the two. Both are functions of x and a slope.

A new surrogate is an entry of `SURROGATES`, and its usual slope in
`snn.settings.config.SURROGATE_SLOPES`. It runs in the eager body until the compiled bodies
know it (`constants.SURROGATE_IDS`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Shape = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A smooth step and its derivative, both of (x, slope); same shape as x."""

    derivative: Shape
    primitive: Shape


def _atan_derivative(x: Tensor, slope: float) -> Tensor:
    return (slope / 2) / (1 + (math.pi / 2 * slope * x).square())


def _atan_primitive(x: Tensor, slope: float) -> Tensor:
    return torch.atan(math.pi / 2 * slope * x) / math.pi


def _triangular_derivative(x: Tensor, slope: float) -> Tensor:
    return slope * (1 - slope * x.abs()).clamp(min=0)


def _triangular_primitive(x: Tensor, slope: float) -> Tensor:
    scaled = (slope * x).clamp(-1, 1)
    return scaled - scaled * scaled.abs() / 2


def _sigmoid_derivative(x: Tensor, slope: float) -> Tensor:
    rising = torch.sigmoid(slope * x)
    return slope * rising * (1 - rising)


def _sigmoid_primitive(x: Tensor, slope: float) -> Tensor:
    return torch.sigmoid(slope * x)


def _fast_sigmoid_derivative(x: Tensor, slope: float) -> Tensor:
    return 1 / (1 + slope * x.abs()).square()


def _fast_sigmoid_primitive(x: Tensor, slope: float) -> Tensor:
    return x / (1 + slope * x.abs())


SURROGATES: dict[str, Surrogate] = {
    # Fang et al. 2021 (PLIF); slope 2 is SpikingJelly's and Grad R's choice
    "atan": Surrogate(derivative=_atan_derivative, primitive=_atan_primitive),
    # Bellec et al. 2018, here with unit area at every slope
    "triangular": Surrogate(derivative=_triangular_derivative, primitive=_triangular_primitive),
    # slope 4 is OTTT's choice (Xiao et al. 2022)
    "sigmoid": Surrogate(derivative=_sigmoid_derivative, primitive=_sigmoid_primitive),
    # Zenke & Ganguli 2018 (SuperSpike); peak 1 at every slope
    "fast-sigmoid": Surrogate(
        derivative=_fast_sigmoid_derivative, primitive=_fast_sigmoid_primitive
    ),
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, name: str, slope: float, height: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.name, ctx.slope, ctx.height = name, slope, height
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        if ctx.height != 1:
            grad = grad * ctx.height
        return grad * SURROGATES[ctx.name].derivative(x, ctx.slope), None, None, None


def spike(x: Tensor, name: str, slope: float, height: float = 1.0) -> Tensor:
    """Return 1 where x >= 0, else 0; the gradient is that of the named surrogate.

    `height` is a factor of the gradient.
    """
    fired: Tensor = _Spike.apply(x, name, slope, height)  # type: ignore[no-untyped-call]
    return fired


def peak(name: str, slope: float) -> float:
    """Return the largest value of a surrogate, that at the threshold."""
    return float(SURROGATES[name].derivative(torch.zeros((), dtype=torch.float64), slope))

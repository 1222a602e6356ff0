"""Parametrizations of connections: the weight as a function of the trained parameter theta."""

from typing import Any

import torch
from torch import Tensor, nn


class ConnectionParametrization(nn.Module):
    """Maps a parameter theta to a weight of the same shape, zero for removed connections."""

    is_regrowing = False  # whether theta of removed connections has a gradient too

    def forward(self, theta: Tensor) -> Tensor:
        """Return the weight."""
        raise NotImplementedError

    def exists(self, theta: Tensor) -> Tensor:
        """Return which connections exist, a boolean tensor like `theta`."""
        raise NotImplementedError


class _Regrowing(torch.autograd.Function):
    """w = sign * theta where theta > cut, else 0; every theta gets sign * dL/dw."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, sign: Tensor, cut: Tensor) -> Tensor:
        ctx.save_for_backward(sign)
        return sign * theta * (theta > cut)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (sign,) = ctx.saved_tensors
        return grad * sign, None, None


class StrengthParametrization(ConnectionParametrization):
    """w = sign * theta where theta > cut: the sign is fixed, the strength theta is trained.

    With `is_regrowing` removed connections still receive a gradient, so that they can
    regrow (Grad R, Chen et al. 2021). Without, the gradient is the true one: zero for
    removed connections (soft Deep R, Bellec et al. 2018).
    """

    sign: Tensor
    cut: Tensor

    def __init__(self, weight: Tensor, *, is_regrowing: bool = True) -> None:
        super().__init__()
        self.is_regrowing = is_regrowing
        self.register_buffer("sign", signs(weight), persistent=False)
        self.register_buffer("cut", weight.new_zeros(()), persistent=False)

    def forward(self, theta: Tensor) -> Tensor:
        if self.is_regrowing:
            weight: Tensor = _Regrowing.apply(theta, self.sign, self.cut)  # type: ignore[no-untyped-call]
            return weight
        return theta * (self.sign * self.exists(theta.detach()))

    def exists(self, theta: Tensor) -> Tensor:
        return theta > self.cut


class MaskParametrization(ConnectionParametrization):
    """w = sign * theta under a mask, with the true gradient.

    Hard Deep R fixes `sign`, with theta >= 0; without signs theta is the weight itself.
    """

    sign: Tensor | None
    alive: Tensor

    def __init__(self, weight: Tensor, *, has_signs: bool) -> None:
        super().__init__()
        self.register_buffer("sign", signs(weight) if has_signs else None, persistent=False)
        alive = torch.ones_like(weight, dtype=torch.bool)
        self.register_buffer("alive", alive, persistent=False)

    def forward(self, theta: Tensor) -> Tensor:
        return theta * (self.alive if self.sign is None else self.sign * self.alive)

    def exists(self, theta: Tensor) -> Tensor:
        return self.alive & (theta != 0)


class _Shrunk(torch.autograd.Function):
    """w = sign(theta) * max(|theta| - cut, 0), with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, cut: Tensor) -> Tensor:
        del ctx
        return theta.sign() * (theta.abs() - cut).clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grad, None


class SoftThresholdParametrization(ConnectionParametrization):
    """w = sign(theta) * max(|theta| - cut, 0): a soft threshold; theta may change its sign.

    The gradient is that of the identity (STDS, Chen et al. 2022).
    """

    is_regrowing = True
    cut: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("cut", weight.new_zeros(()), persistent=False)

    def forward(self, theta: Tensor) -> Tensor:
        weight: Tensor = _Shrunk.apply(theta, self.cut)  # type: ignore[no-untyped-call]
        return weight

    def exists(self, theta: Tensor) -> Tensor:
        return theta.abs() > self.cut


def signs(weight: Tensor) -> Tensor:
    """Return -1 or 1 like the weight; a zero weight counts as positive, so that it can grow.

    If all weights are zero (initial feedback), every second one counts as negative.
    """
    if not weight.detach().count_nonzero():
        turns = torch.arange(weight.numel(), device=weight.device).view_as(weight) % 2
        return (1 - 2 * turns).to(weight.dtype)
    return torch.where(weight.detach() < 0, -1.0, 1.0).to(weight.dtype)

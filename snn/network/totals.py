"""Sums over time, made as fast as memory gives what they read."""

from typing import Any

import torch
from torch import Tensor


def total(x: Tensor) -> Tensor:
    """The sum of `x` (time, batch, ...) over time, (1, batch, ...)."""
    if len(x) == 1:
        return x
    if x.is_cuda:  # each addition would have to be started
        return x.sum(dim=0, keepdim=True)
    result: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return result


def answered_in_order(x: Tensor) -> Tensor:
    """`x` itself, whose gradient is put into the memory order of `x` where it lies in another.

    Whoever shares that gradient would have to do so otherwise, each for itself.
    """
    result: Tensor = _AnsweredInOrder.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Total(torch.autograd.Function):
    """Timestep by timestep: torch adds faster than it reduces over a few outermost places."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.steps = len(x)
        result = x[0] + x[1]
        for one in x[2:]:
            result += one
        return result.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.expand(ctx.steps, *grad.shape[1:])


class _AnsweredInOrder(torch.autograd.Function):
    """The identity, with the copy of its gradient where one is needed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.strides = x.stride()
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if grad.stride() == ctx.strides:
            return grad
        return grad.new_empty_strided(grad.shape, ctx.strides).copy_(grad)

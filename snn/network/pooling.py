"""Pools: what a window of neurons passes on, without connections of its own.

A side that the window does not divide is padded with silence, so that every
pixel lies in exactly one window.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["average", "max"]


class SpikePool(nn.Module):
    """Windows of `kernel` x `kernel` pixels: the mean of their spikes, or their maximum.

    A mean of `grain` spikes makes a value of 1. A maximum of spikes is itself a
    spike, there as soon as one neuron of the window spikes.
    """

    def __init__(self, side: int, *, kernel: int, pooling: Pooling = "average") -> None:
        super().__init__()
        self.kernel, self.pooling = kernel, pooling
        missing = -side % kernel
        self.padding = math.ceil(missing / 2)
        self.side = (side + 2 * self.padding - kernel) // kernel + 1
        self.grain = kernel * kernel if pooling == "average" else 1

    def forward(self, spikes: Tensor) -> Tensor:
        """`spikes` with time first."""
        if self.kernel == 1:
            return spikes
        x = spikes.flatten(0, 1)
        pooled: Tensor
        if self.pooling == "average":
            pooled = _Mean.apply(x, self.kernel, self.padding)  # type: ignore[no-untyped-call]
        else:
            pooled = _Maximum.apply(x, self.kernel, self.padding)  # type: ignore[no-untyped-call]
        unfolded: Tensor = pooled.unflatten(0, spikes.shape[:2])
        return unfolded


class _Mean(torch.autograd.Function):
    """Mean of windows; keeps nothing where torch's own keeps the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, padding: int) -> Tensor:
        ctx.kernel, ctx.padding, ctx.sides = kernel, padding, x.shape[-2:]
        return F.avg_pool2d(x, kernel, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        kernel, padding, (height, width) = ctx.kernel, ctx.padding, ctx.sides
        last = (grad / (kernel * kernel)).permute(0, 2, 3, 1)  # channels last, as spikes lie
        images, rows, columns, channels = last.shape
        spread = last.new_empty(images, rows, kernel, columns, kernel, channels)
        spread.copy_(last[:, :, None, :, None, :].expand_as(spread))
        pixels = spread.view(images, rows * kernel, columns * kernel, channels)
        if pixels.shape[1:3] != (height, width):
            inside = slice(padding, padding + height), slice(padding, padding + width)
            pixels = pixels[:, inside[0], inside[1]].contiguous()
        return pixels.permute(0, 3, 1, 2), None, None


class _Maximum(torch.autograd.Function):
    """Maximum of windows; its gradient goes to the first of the largest, as in torch.

    Keeps a byte per window where torch's own keeps the input and eight bytes, and
    its backward has one order of additions on every device.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, padding: int) -> Tensor:
        pooled, place = F.max_pool2d(x, kernel, padding=padding, return_indices=True)
        if ctx.needs_input_grad[0]:
            row, column = place // x.shape[-1] + padding, place % x.shape[-1] + padding
            ctx.save_for_backward((row % kernel * kernel + column % kernel).to(torch.uint8))
        ctx.kernel, ctx.padding, ctx.sides = kernel, padding, x.shape[-2:]
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (winner,) = ctx.saved_tensors
        kernel, padding, (height, width) = ctx.kernel, ctx.padding, ctx.sides
        rows, columns = (side * kernel for side in grad.shape[-2:])
        spread = grad.new_zeros(*grad.shape[:-2], rows, columns)
        for place in range(kernel * kernel):
            down, right = divmod(place, kernel)
            spread[..., down::kernel, right::kernel] = grad * (winner == place)
        # windows leave out what no full one covers: padding of the far border
        inside = spread[..., padding : padding + height, padding : padding + width]
        return inside.contiguous(), None, None

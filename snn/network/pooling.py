"""Pools of spikes, without connections.

A map whose height or width the window does not divide is padded with zeros, so that every
pixel lies in exactly one window.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["average", "max"]
Size = tuple[int, int]  # height and width


def divided(size: Size, by: int) -> Size:
    """Return the size of a map after a window or stride of `by`, rounded up."""
    return math.ceil(size[0] / by), math.ceil(size[1] / by)


class SpikePool(nn.Module):
    """Mean or maximum of the spikes in windows of `kernel` pixels: height and width, or one side.

    A mean of 1 needs `spikes_per_unit` spikes. A maximum is itself a spike: 1 if at least
    one neuron of the window spikes.
    """

    def __init__(self, size: Size, *, kernel: Size | int, pooling: Pooling = "average") -> None:
        super().__init__()
        self.kernel: Size = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.pooling = pooling
        pairs = list(zip(size, self.kernel, strict=True))
        self.padding: Size = _pair(math.ceil(-side % window / 2) for side, window in pairs)
        self.size: Size = _pair(math.ceil(side / window) for side, window in pairs)
        self.spikes_per_unit = math.prod(self.kernel) if pooling == "average" else 1

    @property
    def is_pooling(self) -> bool:
        """Whether windows have more than one pixel."""
        return self.kernel != (1, 1)

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the pooled maps of `spikes` (time, batch, channels, height, width)."""
        if not self.is_pooling:
            return spikes
        x = spikes.flatten(0, 1)
        pooled: Tensor
        if self.pooling == "average":
            pooled = _Mean.apply(x, self.kernel, self.padding)  # type: ignore[no-untyped-call]
        else:
            pooled = _Maximum.apply(x, self.kernel, self.padding)  # type: ignore[no-untyped-call]
        unfolded: Tensor = pooled.unflatten(0, spikes.shape[:2])
        return unfolded


def _pair(values: Iterable[int]) -> Size:
    height, width = values
    return height, width


class _Mean(torch.autograd.Function):
    """Mean of windows; saves nothing for the backward pass, torch's own saves the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Size, padding: Size) -> Tensor:
        ctx.kernel, ctx.padding, ctx.sides = kernel, padding, x.shape[-2:]
        return F.avg_pool2d(x, kernel, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (tall, wide), (top, left), (height, width) = ctx.kernel, ctx.padding, ctx.sides
        last = (grad / (tall * wide)).permute(0, 2, 3, 1)  # channels last, like the spikes
        images, rows, columns, channels = last.shape
        spread = last.new_empty(images, rows, tall, columns, wide, channels)
        spread.copy_(last[:, :, None, :, None, :].expand_as(spread))
        pixels = spread.view(images, rows * tall, columns * wide, channels)
        if pixels.shape[1:3] != (height, width):
            pixels = pixels[:, top : top + height, left : left + width].contiguous()
        return pixels.permute(0, 3, 1, 2), None, None


class _Maximum(torch.autograd.Function):
    """Maximum of windows; its gradient goes to the first maximum, as in torch.

    Saves one byte per window, torch's own the input and eight bytes per window. The backward
    pass has one order of additions on every device.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Size, padding: Size) -> Tensor:
        pooled, place = F.max_pool2d(x, kernel, padding=padding, return_indices=True)
        if ctx.needs_input_grad[0]:
            (tall, wide), (top, left) = kernel, padding
            row, column = place // x.shape[-1] + top, place % x.shape[-1] + left
            ctx.save_for_backward((row % tall * wide + column % wide).to(torch.uint8))
        ctx.kernel, ctx.padding, ctx.sides = kernel, padding, x.shape[-2:]
        return pooled

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (winner,) = ctx.saved_tensors
        (tall, wide), (top, left), (height, width) = ctx.kernel, ctx.padding, ctx.sides
        rows, columns = grad.shape[-2] * tall, grad.shape[-1] * wide
        spread = grad.new_zeros(*grad.shape[:-2], rows, columns)
        for place in range(tall * wide):
            down, right = divmod(place, wide)
            spread[..., down::tall, right::wide] = grad * (winner == place)
        # the far border of the padding lies in no full window
        inside = spread[..., top : top + height, left : left + width]
        return inside.contiguous(), None, None

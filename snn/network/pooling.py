"""Pools of spikes, without connections.

A map whose side the window does not divide is padded with zeros, so that every pixel lies
in exactly one window.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["average", "max"]


class SpikePool(nn.Module):
    """Mean or maximum of the spikes in windows of `kernel` x `kernel` pixels.

    A mean of 1 needs `spikes_per_unit` spikes. A maximum is itself a spike: 1 if at least
    one neuron of the window spikes.
    """

    def __init__(self, side: int, *, kernel: int, pooling: Pooling = "average") -> None:
        super().__init__()
        self.kernel, self.pooling = kernel, pooling
        missing = -side % kernel
        self.padding = math.ceil(missing / 2)
        self.side = (side + 2 * self.padding - kernel) // kernel + 1
        self.spikes_per_unit = kernel * kernel if pooling == "average" else 1

    def forward(self, spikes: Tensor) -> Tensor:
        """Return the pooled maps of `spikes` (time, batch, channels, height, width)."""
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
    """Mean of windows; saves nothing for the backward pass, torch's own saves the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, padding: int) -> Tensor:
        ctx.kernel, ctx.padding, ctx.sides = kernel, padding, x.shape[-2:]
        return F.avg_pool2d(x, kernel, padding=padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        kernel, padding, (height, width) = ctx.kernel, ctx.padding, ctx.sides
        last = (grad / (kernel * kernel)).permute(0, 2, 3, 1)  # channels last, like the spikes
        images, rows, columns, channels = last.shape
        spread = last.new_empty(images, rows, kernel, columns, kernel, channels)
        spread.copy_(last[:, :, None, :, None, :].expand_as(spread))
        pixels = spread.view(images, rows * kernel, columns * kernel, channels)
        if pixels.shape[1:3] != (height, width):
            inside = slice(padding, padding + height), slice(padding, padding + width)
            pixels = pixels[:, inside[0], inside[1]].contiguous()
        return pixels.permute(0, 3, 1, 2), None, None


class _Maximum(torch.autograd.Function):
    """Maximum of windows; its gradient goes to the first maximum, as in torch.

    Saves one byte per window, torch's own the input and eight bytes per window. The backward
    pass has one order of additions on every device.
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
        # the far border of the padding lies in no full window
        inside = spread[..., padding : padding + height, padding : padding + width]
        return inside.contiguous(), None, None

"""Linear maps of spikes that save their inputs for the backward pass as bits or bytes.

A spike takes one bit; the mean of a 2x2 window of spikes is a count from 0 to 4 and takes
one byte. Unpacking restores the exact values, so gradients equal those of plain maps.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Values of a packed tensor: 0 to `spikes_per_unit` spikes of `spike` / `spikes_per_unit`."""

    spikes_per_unit: int = 1
    spike: float = 1.0  # above 1 after dropout


def pack(x: Tensor, levels: Levels) -> Tensor:
    """Return uint8 codes of `x`, one-dimensional, in memory order."""
    flat = _flat(x)
    if levels.spikes_per_unit > 1:
        return flat.mul(levels.spikes_per_unit / levels.spike).round_().to(torch.uint8)
    bits = F.pad(flat != 0, (0, -flat.numel() % 8)).view(-1, 8)
    # created on the device: a copy from the host would have to be waited for
    places = torch.arange(8, dtype=torch.uint8, device=x.device)
    weights = torch.ones_like(places).bitwise_left_shift(places)
    return (bits * weights).sum(dim=1, dtype=torch.uint8)


def unpack(codes: Tensor, levels: Levels, like: Tensor) -> Tensor:
    """Return the packed tensor in the shape, type and memory order of `like`."""
    x = torch.empty_like(like)
    flat = _flat(x)
    if levels.spikes_per_unit > 1:
        # rounded like the pool: the sum of the spikes first, then the division
        flat.copy_(codes).mul_(levels.spike).div_(levels.spikes_per_unit)
    else:
        shifts = torch.arange(8, dtype=torch.uint8, device=codes.device)
        bits = codes.unsqueeze(1).bitwise_right_shift(shifts).bitwise_and_(1)
        flat.copy_(bits.flatten()[: flat.numel()]).mul_(levels.spike)
    return x


def _flat(x: Tensor) -> Tensor:
    """Return a dense tensor as one dimension, in memory order."""
    return x.as_strided((x.numel(),), (1,))


def is_dense(x: Tensor) -> bool:
    """Return whether a tensor has neither gaps nor overlaps in memory."""
    return bool(torch.ops.aten.is_non_overlapping_and_dense(x))


class PackedMap(torch.autograd.Function):
    """Convolution or all-to-all map of spikes (batch, ...), in the number type of the weight.

    The bias may be None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        groups: int,
        levels: Levels,
    ) -> Tensor:
        if not is_dense(x):
            x = x.contiguous()
        ctx.save_for_backward(pack(x, levels), weight)
        ctx.empty, ctx.stride, ctx.groups, ctx.levels = x.new_empty(0), stride, groups, levels
        ctx.shape, ctx.strides = x.shape, x.stride()
        ctx.has_bias = bias is not None
        x = x.to(weight.dtype)
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor | None, None, None, None]:
        codes, weight = ctx.saved_tensors
        like = ctx.empty.new_empty_strided(ctx.shape, ctx.strides)
        x = unpack(codes, ctx.levels, like).to(weight.dtype)
        if weight.dim() == 2:
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            grad_b = grad.sum(dim=0) if ctx.has_bias else None
            return grad_x, grad.T @ x, grad_b, None, None, None
        padding = weight.shape[-1] // 2
        grad_x, grad_w, grad_b = torch.ops.aten.convolution_backward(
            *(grad, x, weight, [weight.shape[0]] if ctx.has_bias else None),
            *([ctx.stride] * 2, [padding] * 2, [1, 1], False, [0, 0], ctx.groups),
            [ctx.needs_input_grad[0], True, ctx.has_bias],
        )
        return grad_x, grad_w, grad_b if ctx.has_bias else None, None, None, None

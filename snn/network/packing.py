"""Maps of spikes that keep their inputs for backward in bits instead of numbers.

A spike is one bit; the mean of a 2x2 window of spikes is a count from 0 to 4 and
takes a byte. What is unpacked has the bits of what was packed, so gradients are
those of the plain maps.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Values that a packed tensor may have: 0, 1, ... `grain` spikes, each `spike` / `grain`."""

    grain: int = 1
    spike: float = 1.0  # above 1 behind dropout


def pack(x: Tensor, levels: Levels) -> Tensor:
    """One-dimensional uint8 codes of `x`, in the order in which it lies in memory."""
    flat = _flat(x)
    if levels.grain > 1:
        return flat.mul(levels.grain / levels.spike).round_().to(torch.uint8)
    bits = F.pad(flat != 0, (0, -flat.numel() % 8)).view(-1, 8)
    # made on the device: a copy from the host would be waited for
    places = torch.arange(8, dtype=torch.uint8, device=x.device)
    weights = torch.ones_like(places).bitwise_left_shift(places)
    return (bits * weights).sum(dim=1, dtype=torch.uint8)


def unpack(codes: Tensor, levels: Levels, like: Tensor) -> Tensor:
    """What was packed, in the shape, type and memory order of `like`."""
    x = torch.empty_like(like)
    flat = _flat(x)
    if levels.grain > 1:
        # rounded as the pool rounds: the sum of the spikes first, then its share
        flat.copy_(codes).mul_(levels.spike).div_(levels.grain)
    else:
        shifts = torch.arange(8, dtype=torch.uint8, device=codes.device)
        bits = codes.unsqueeze(1).bitwise_right_shift(shifts).bitwise_and_(1)
        flat.copy_(bits.flatten()[: flat.numel()]).mul_(levels.spike)
    return x


def _flat(x: Tensor) -> Tensor:
    """All of a dense tensor as it lies in memory."""
    return x.as_strided((x.numel(),), (1,))


def is_dense(x: Tensor) -> bool:
    """Whether a tensor lies in memory without gaps and overlaps."""
    return bool(torch.ops.aten.is_non_overlapping_and_dense(x))


class PackedMap(torch.autograd.Function):
    """Convolution or all-to-all map of spikes (batch, ...) with a bias that may be None.

    In the type of the weight, whatever that of the spikes is.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, levels: Levels
    ) -> Tensor:
        if not is_dense(x):
            x = x.contiguous()
        ctx.save_for_backward(pack(x, levels), weight)
        ctx.empty, ctx.stride, ctx.levels = x.new_empty(0), stride, levels
        ctx.shape, ctx.strides = x.shape, x.stride()
        ctx.has_bias = bias is not None
        x = x.to(weight.dtype)
        if weight.dim() == 2:
            return F.linear(x, weight, bias)
        return F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        codes, weight = ctx.saved_tensors
        like = ctx.empty.new_empty_strided(ctx.shape, ctx.strides)
        x = unpack(codes, ctx.levels, like).to(weight.dtype)
        if weight.dim() == 2:
            grad_x = grad @ weight if ctx.needs_input_grad[0] else None
            grad_b = grad.sum(dim=0) if ctx.has_bias else None
            return grad_x, grad.T @ x, grad_b, None, None
        padding = weight.shape[-1] // 2
        grad_x, grad_w, grad_b = torch.ops.aten.convolution_backward(
            *(grad, x, weight, [weight.shape[0]] if ctx.has_bias else None),
            *([ctx.stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1),
            [ctx.needs_input_grad[0], True, ctx.has_bias],
        )
        return grad_x, grad_w, grad_b if ctx.has_bias else None, None, None

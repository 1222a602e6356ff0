"""Memory layout of tensors over time: timesteps in sequence, each of them dense."""

import torch
from torch import Tensor


def time_outermost(x: Tensor) -> Tensor:
    """Return `x` with each timestep dense in memory; constant timesteps may have stride 0."""
    one = x[0]
    if torch.ops.aten.is_non_overlapping_and_dense(one):
        return x
    return x.contiguous()


def like_one(one: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Return an empty tensor of `steps` timesteps like the dense `one`."""
    strides = (one.numel(), *one.stride())
    return torch.empty_strided((steps, *one.shape), strides, dtype=dtype, device=one.device)


def aligned(x: Tensor | None, like: Tensor) -> Tensor | None:
    """Return `x` in the memory order of `like`."""
    if x is None or x.stride() == like.stride():
        return x
    return torch.empty_like(like, dtype=x.dtype).copy_(x)


def each_aligned(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` with every timestep in the memory order of `like`, a single timestep."""
    if x[0].stride() == like.stride():
        return x
    if x.stride(0) == 0:  # constant over time, like the gradient of a mean
        return torch.empty_like(like, dtype=x.dtype).copy_(x[0]).expand_as(x)
    return like_one(like, x.shape[0], x.dtype).copy_(x)

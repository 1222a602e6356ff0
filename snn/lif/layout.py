"""How tensors of several timesteps lie in memory: one timestep behind the other, each dense."""

import torch
from torch import Tensor


def time_outermost(x: Tensor) -> Tensor:
    """`x` with one timestep dense in memory; a constant one may repeat with stride 0."""
    one = x[0]
    if torch.ops.aten.is_non_overlapping_and_dense(one):
        return x
    return x.contiguous()


def like_one(one: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """An empty tensor of so many timesteps like the dense `one`."""
    strides = (one.numel(), *one.stride())
    return torch.empty_strided((steps, *one.shape), strides, dtype=dtype, device=one.device)


def aligned(x: Tensor | None, like: Tensor) -> Tensor | None:
    """`x` in the memory order of `like`."""
    if x is None or x.stride() == like.stride():
        return x
    return torch.empty_like(like, dtype=x.dtype).copy_(x)


def each_aligned(x: Tensor, like: Tensor) -> Tensor:
    """`x` with every timestep in the memory order of `like`, which is one of them."""
    if x[0].stride() == like.stride():
        return x
    if x.stride(0) == 0:  # the same at every timestep, as behind a mean
        return torch.empty_like(like, dtype=x.dtype).copy_(x[0]).expand_as(x)
    return like_one(like, x.shape[0], x.dtype).copy_(x)

"""A sum that decays, y[t] = decay * y[t-1] + x[t]: the current of a synapse, and its gradient.

Backwards in time it is the gradient of the same sum. Three bodies that give the same bits: C on a
CPU (`native.c`), Triton on CUDA devices, plain torch elsewhere.
"""

import torch
from torch import Tensor

from snn.lif import eager, fused, native
from snn.lif.constants import state_type
from snn.lif.layout import aligned, like_one, time_outermost

_library = torch.library.Library("spikefront", "FRAGMENT")
_library.define("decaying_sum(Tensor x, Tensor? before, float decay, bool is_backward) -> Tensor")


def _sum_eager(x: Tensor, before: Tensor | None, decay: float, is_backward: bool) -> Tensor:
    out = eager.empty_like(x, state_type(x.dtype))
    steps = range(x.shape[0])
    for index in reversed(steps) if is_backward else steps:
        y = x[index].to(out.dtype)
        out[index] = y if before is None else y + before * decay
        before = out[index]
    return out


def _sum_cpu(x: Tensor, before: Tensor | None, decay: float, is_backward: bool) -> Tensor:
    library = native.load() if x.dtype in native.SUFFIX else None
    if library is None:
        return _sum_eager(x, before, decay, is_backward)
    x = time_outermost(x)
    one, steps = x[0], x.shape[0]
    out, before = like_one(one, steps, x.dtype), aligned(before, one)
    run = library.decaying_f if x.dtype is torch.float32 else library.decaying_d
    run(
        *(x.data_ptr(), x.stride(0), None if before is None else before.data_ptr()),
        *(out.data_ptr(), steps, one.numel(), decay, is_backward, torch.get_num_threads()),
    )
    return out


def _sum_cuda(x: Tensor, before: Tensor | None, decay: float, is_backward: bool) -> Tensor:
    if x.dtype not in fused.DTYPES or x.numel() == 0 or fused.kernels() is None:
        return _sum_eager(x, before, decay, is_backward)
    return fused.decaying(x, before, decay, is_backward=is_backward)


def _sum_fake(x: Tensor, before: Tensor | None, decay: float, is_backward: bool) -> Tensor:
    return eager.empty_like(x, state_type(x.dtype))


_library.impl("decaying_sum", _sum_eager, "CompositeExplicitAutograd")
_library.impl("decaying_sum", _sum_cpu, "CPU")
_library.impl("decaying_sum", _sum_cuda, "CUDA")
torch.library.register_fake("spikefront::decaying_sum", _sum_fake)


def decaying_sum(
    x: Tensor, before: Tensor | None, decay: float, *, is_backward: bool = False
) -> Tensor:
    """Return y of every timestep, in the shape of `x` (time, batch, ...).

    `before` (batch, ...) is y one timestep before the first, with `is_backward` one after the
    last; None for 0. At least in single precision.
    """
    out: Tensor = torch.ops.spikefront.decaying_sum(x, before, decay, is_backward)
    return out

"""The recurrence as one Triton kernel over all timesteps, on CUDA devices.

CUDA builds of torch include Triton. If Triton is missing or SPIKEFRONT_FUSED is 0, the eager
body runs instead. A kernel is compiled once per surrogate, reset and number type, for any
number of neurons and timesteps and any constants.
"""

import functools
import importlib
import importlib.util
import os
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from snn.lif.constants import SURROGATE_IDS, Adaptation, Constants, factors, state_type
from snn.lif.layout import aligned, each_aligned, like_one, time_outermost

DTYPES = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})
BLOCK = 256  # neurons per program
# no multiplication is fused with an addition, so that spikes equal those of the eager body
OPTIONS = {"enable_fp_fusion": False, "num_warps": 4}


@functools.cache
def kernels() -> ModuleType | None:
    """Return the module of kernels, or None if Triton is missing or switched off."""
    if os.environ.get("SPIKEFRONT_FUSED") == "0" or importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module("snn.lif.kernels")


def supports(current: Tensor, surrogate: str) -> bool:
    """Return whether this body can run on such a tensor with such a surrogate."""
    is_known = current.dtype in DTYPES and surrogate in SURROGATE_IDS
    return is_known and current.numel() > 0 and kernels() is not None


def forward(
    current: Tensor,
    before: Tensor | None,
    learned: Tensor | None,
    by: Constants,
    *,
    leaks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Triton version of `eager.forward`: the same arguments and results."""
    current = time_outermost(current)
    one, steps = current[0], current.shape[0]
    potentials = like_one(one, steps, state_type(current.dtype))
    spikes = like_one(one, steps, current.dtype)
    _run(
        "forward",
        *(current, aligned(before, one), _numbers(learned, by, current.device), leaks),
        *(spikes, potentials, one.numel(), steps),
        *(current.stride(0), spikes.stride(0), potentials.stride(0), *_each(leaks, one)),
        has_before=before is not None,
        has_leaks=leaks is not None,
        is_hard=by.is_hard,
    )
    return spikes, potentials


def backward(
    grad_spikes: Tensor,
    carried: Tensor | None,
    potentials: Tensor,
    before: Tensor | None,
    learned: Tensor | None,
    by: Constants,
    *,
    leaks: Tensor | None = None,
    with_constants: bool,
) -> tuple[Tensor, Tensor]:
    """Triton version of `eager.backward`, and of constants' gradients for `with_constants`."""
    steps, one = potentials.shape[0], potentials[0]
    gradient = like_one(one, steps, potentials.dtype)
    grad_spikes = each_aligned(grad_spikes, one)
    programs = -(-one.numel() // BLOCK) if with_constants else 1
    sums = potentials.new_zeros(programs, 3, dtype=torch.float64)
    is_each = with_constants and leaks is not None
    each = like_one(one, 1, torch.float64)[0] if is_each else None
    _run(
        "backward",
        *(grad_spikes, aligned(carried, one), potentials, aligned(before, one)),
        *(_numbers(learned, by, potentials.device), leaks),
        *(gradient, sums, each, one.numel(), steps),
        *(grad_spikes.stride(0), potentials.stride(0)),
        *((steps - 1) * stride for stride in (grad_spikes.stride(0), potentials.stride(0))),
        *_each(leaks, one),
        has_carried=carried is not None,
        has_before=before is not None,
        has_leaks=leaks is not None,
        with_constants=with_constants,
        is_hard=by.is_hard,
        surrogate=SURROGATE_IDS[by.surrogate],
    )
    if leaks is not None:
        if each is None:
            return gradient, sums.new_zeros(len(leaks))
        return gradient, each.sum(dim=[axis for axis in range(each.dim()) if axis != 1])
    of_spikes, of_leak, of_reset = sums.sum(dim=0).unbind()
    leak: float | Tensor = by.leak if learned is None else learned[0]
    back = of_reset * 0 if by.is_hard else leak * of_reset
    return gradient, torch.stack([of_leak, -of_spikes - back])


def adaptive_forward(
    current: Tensor, v: Tensor, a: Tensor, by: Constants, adapts: Adaptation
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Triton version of `adaptive.adaptive_forward`: the same arguments and results."""
    current = time_outermost(current)
    one, steps = current[0], current.shape[0]
    spikes = like_one(one, steps, current.dtype)
    distances = like_one(one, steps, v.dtype)
    last_v, last_a = (like_one(one, 1, v.dtype)[0] for _ in range(2))
    _run(
        "adaptive_forward",
        *(current, aligned(v, one), aligned(a, one), _adaptive(by, adapts, current.device)),
        *(spikes, distances, last_v, last_a, one.numel(), steps),
        *(current.stride(0), spikes.stride(0), distances.stride(0)),
        is_hard=by.is_hard,
    )
    return spikes, distances, last_v, last_a


def adaptive_backward(
    grad_spikes: Tensor,
    of_v: Tensor,
    of_a: Tensor,
    distances: Tensor,
    by: Constants,
    adapts: Adaptation,
) -> tuple[Tensor, Tensor, Tensor]:
    """Triton version of `adaptive.adaptive_backward`: the same arguments and results."""
    one, steps = distances[0], distances.shape[0]
    grad_spikes = each_aligned(grad_spikes, one)
    gradient = like_one(one, steps, distances.dtype)
    first_v, first_a = (like_one(one, 1, distances.dtype)[0] for _ in range(2))
    strides = (grad_spikes.stride(0), distances.stride(0))
    _run(
        "adaptive_backward",
        *(grad_spikes, aligned(of_v, one), aligned(of_a, one), distances),
        *(_adaptive(by, adapts, distances.device), gradient, first_v, first_a),
        *(one.numel(), steps, *strides, *((steps - 1) * stride for stride in strides)),
        is_hard=by.is_hard,
        surrogate=SURROGATE_IDS[by.surrogate],
    )
    return gradient, first_v, first_a


def decaying(x: Tensor, before: Tensor | None, decay: float, *, is_backward: bool) -> Tensor:
    """Triton version of `decaying.decaying_sum`: the same arguments and results."""
    x = time_outermost(x)
    one, steps = x[0], x.shape[0]
    out = like_one(one, steps, state_type(x.dtype))
    strides = (x.stride(0), out.stride(0))
    _run(
        "decaying",
        *(x, aligned(before, one), _numbers_on(x.device, (decay,)), out, one.numel(), steps),
        *((-stride if is_backward else stride) for stride in strides),
        *((steps - 1) * stride if is_backward else 0 for stride in strides),
        has_before=before is not None,
    )
    return out


def _run(name: str, *arguments: Any, **choices: Any) -> None:
    """Launch a kernel over all neurons; another tensor takes the place of one that is None."""
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    neurons = next(x for x in arguments if isinstance(x, int))
    given = [tensors[0] if x is None else x for x in arguments]
    kernel = getattr(kernels(), name)
    kernel[(-(-neurons // BLOCK),)](*given, **choices, block=BLOCK, **OPTIONS)


def _each(leaks: Tensor | None, one: Tensor) -> tuple[int, int]:
    """Return the number of leaks, and neurons in a row that share one, as in `native`."""
    return (1, 1) if leaks is None else (len(leaks), max(one.stride(1), 1))


def _numbers(learned: Tensor | None, by: Constants, device: torch.device) -> Tensor:
    """Return the constants for the kernels: (6,), double precision, on the device."""
    fixed = _numbers_on(device, (by.leak, by.threshold, by.fire, by.scale, *factors(by)))
    return fixed if learned is None else torch.cat([learned, fixed[4:]])


def _adaptive(by: Constants, adapts: Adaptation, device: torch.device) -> Tensor:
    """Return the constants of adaptive neurons for the kernels."""
    of_both = (by.leak, by.threshold, by.fire, adapts.rise, adapts.decay, adapts.height)
    return _numbers_on(device, (*of_both, *factors(by)))


@functools.lru_cache(maxsize=256)
def _numbers_on(device: torch.device, values: tuple[float, ...]) -> Tensor:
    """Return numbers on a device; cached, because a copy makes the host wait."""
    return torch.tensor(values, dtype=torch.float64, device=device)

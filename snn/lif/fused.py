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

from snn.lif.constants import SURROGATE_IDS, Constants, factors, state_type
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
    current: Tensor, before: Tensor | None, learned: Tensor | None, by: Constants
) -> tuple[Tensor, Tensor]:
    """Triton version of `eager.forward`: the same arguments and results."""
    current = time_outermost(current)
    one, steps = current[0], current.shape[0]
    potentials = like_one(one, steps, state_type(current.dtype))
    spikes = like_one(one, steps, current.dtype)
    _run(
        "forward",
        *(current, aligned(before, one), _numbers(learned, by, current.device)),
        *(spikes, potentials, one.numel(), steps),
        *(current.stride(0), spikes.stride(0), potentials.stride(0)),
        has_before=before is not None,
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
    with_constants: bool,
) -> tuple[Tensor, Tensor]:
    """Triton version of `eager.backward`, and of `constants_gradient` for `with_constants`."""
    steps, one = potentials.shape[0], potentials[0]
    gradient = like_one(one, steps, potentials.dtype)
    grad_spikes = each_aligned(grad_spikes, one)
    programs = -(-one.numel() // BLOCK) if with_constants else 1
    sums = potentials.new_zeros(programs, 3, dtype=torch.float64)
    _run(
        "backward",
        *(grad_spikes, aligned(carried, one), potentials, aligned(before, one)),
        *(_numbers(learned, by, potentials.device), gradient, sums, one.numel(), steps),
        *(grad_spikes.stride(0), potentials.stride(0)),
        *((steps - 1) * stride for stride in (grad_spikes.stride(0), potentials.stride(0))),
        has_carried=carried is not None,
        has_before=before is not None,
        with_constants=with_constants,
        is_hard=by.is_hard,
        surrogate=SURROGATE_IDS[by.surrogate],
    )
    of_spikes, of_leak, of_reset = sums.sum(dim=0).unbind()
    leak: float | Tensor = by.leak if learned is None else learned[0]
    back = of_reset * 0 if by.is_hard else leak * of_reset
    return gradient, torch.stack([of_leak, -of_spikes - back])


def _run(name: str, *arguments: Any, **choices: Any) -> None:
    """Launch a kernel over all neurons; another tensor takes the place of one that is None."""
    tensors = [x for x in arguments if isinstance(x, Tensor)]
    neurons = next(x for x in arguments if isinstance(x, int))
    given = [tensors[0] if x is None else x for x in arguments]
    kernel = getattr(kernels(), name)
    kernel[(-(-neurons // BLOCK),)](*given, **choices, block=BLOCK, **OPTIONS)


def _numbers(learned: Tensor | None, by: Constants, device: torch.device) -> Tensor:
    """Return the constants for the kernels: (6,), double precision, on the device."""
    fixed = _on(device, by)
    return fixed if learned is None else torch.cat([learned, fixed[4:]])


@functools.lru_cache(maxsize=256)
def _on(device: torch.device, by: Constants) -> Tensor:
    """Return the constants on a device; cached, because a copy makes the host wait."""
    values = [by.leak, by.threshold, by.fire, by.scale, *factors(by)]
    return torch.tensor(values, dtype=torch.float64, device=device)

"""The recurrence of neurons whose threshold adapts, see `snn.network.memory.adaptive`.

Three bodies that give the same bits, as for LIF neurons: C on a CPU (`native.c`), Triton on CUDA
devices, plain torch elsewhere.
"""

from typing import Any

import torch
from torch import Tensor

from snn.lif import eager, fused, native
from snn.lif.constants import (
    CONSTANTS,
    SURROGATE_IDS,
    Adaptation,
    Constants,
    factors,
    state_type,
)
from snn.lif.layout import each_aligned, like_one, time_outermost
from snn.lif.surrogate import SURROGATES

_ALL = f"{CONSTANTS}, float rise, float decay, float height"
_library = torch.library.Library("spikefront", "FRAGMENT")
_library.define(
    f"adaptive_forward(Tensor current, Tensor v, Tensor a, {_ALL}) "
    "-> (Tensor spikes, Tensor distances, Tensor v, Tensor a)"
)
_library.define(
    f"adaptive_backward(Tensor grad_spikes, Tensor of_v, Tensor of_a, Tensor distances, {_ALL}) "
    "-> (Tensor gradient, Tensor of_v, Tensor of_a)"
)

_Three = tuple[Tensor, Tensor, Tensor]
_Four = tuple[Tensor, Tensor, Tensor, Tensor]


def _split(values: tuple[Any, ...]) -> tuple[Constants, Adaptation]:
    rise, decay, height = values[-3:]
    return Constants.of(values[:-3]), Adaptation(rise=rise, decay=decay, height=height)


def _forward_eager(current: Tensor, v: Tensor, a: Tensor, *values: Any) -> _Four:
    by, adapts = _split(values)
    spikes = eager.empty_like(current, current.dtype)
    distances = eager.empty_like(current, v.dtype)
    for index in range(len(current)):
        h = current[index].to(v.dtype) + v * by.leak
        distances[index] = (h - by.fire) - a * adapts.rise
        s = (distances[index] >= 0).to(v.dtype)
        v = h * (1 - s) if by.is_hard else h - s * by.threshold
        a = a * adapts.decay + s
        spikes[index] = s
    return spikes, distances, v, a


def _backward_eager(
    grad_spikes: Tensor, of_v: Tensor, of_a: Tensor, distances: Tensor, *values: Any
) -> _Three:
    by, adapts = _split(values)
    derivative = SURROGATES[by.surrogate].derivative
    gradient = torch.empty_like(distances)
    for index in reversed(range(len(distances))):
        distance = distances[index]
        sent = grad_spikes[index] + of_a
        risen = sent * adapts.height * derivative(distance, by.slope)
        carry = torch.where(distance >= 0, 0, of_v) if by.is_hard else of_v
        gradient[index] = carry + risen
        of_v = gradient[index] * by.leak
        of_a = of_a * adapts.decay - risen * adapts.rise
    return gradient, of_v, of_a


def _forward_cpu(current: Tensor, v: Tensor, a: Tensor, *values: Any) -> _Four:
    by, adapts = _split(values)
    library = native.load() if native.supports(current, by.surrogate) else None
    if library is None:
        return _forward_eager(current, v, a, *values)
    current = time_outermost(current)
    one, steps = current[0], len(current)
    spikes, distances = (like_one(one, steps, current.dtype) for _ in range(2))
    v, a = (torch.empty_like(one).copy_(x) for x in (v, a))  # overwritten by those after it
    run = library.adaptive_forward_f if one.dtype is torch.float32 else library.adaptive_forward_d
    run(
        *(current.data_ptr(), current.stride(0), v.data_ptr(), a.data_ptr()),
        *(distances.data_ptr(), spikes.data_ptr(), steps, one.numel()),
        *(by.leak, by.threshold, by.fire, adapts.rise, adapts.decay, by.is_hard),
        torch.get_num_threads(),
    )
    return spikes, distances, v, a


def _backward_cpu(
    grad_spikes: Tensor, of_v: Tensor, of_a: Tensor, distances: Tensor, *values: Any
) -> _Three:
    by, adapts = _split(values)
    is_known = grad_spikes.dtype is distances.dtype and native.supports(distances, by.surrogate)
    library = native.load() if is_known else None
    if library is None:
        return _backward_eager(grad_spikes, of_v, of_a, distances, *values)
    one, steps = distances[0], len(distances)
    grad_spikes, gradient = each_aligned(grad_spikes, one), like_one(one, steps, one.dtype)
    of_v, of_a = (torch.empty_like(one).copy_(x) for x in (of_v, of_a))
    run = library.adaptive_backward_f if one.dtype is torch.float32 else library.adaptive_backward_d
    run(
        *(grad_spikes.data_ptr(), grad_spikes.stride(0), of_v.data_ptr(), of_a.data_ptr()),
        *(distances.data_ptr(), gradient.data_ptr(), steps, one.numel()),
        *(by.leak, adapts.rise, adapts.decay, adapts.height, by.is_hard),
        *(SURROGATE_IDS[by.surrogate], *factors(by), torch.get_num_threads()),
    )
    return gradient, of_v, of_a


def _forward_cuda(current: Tensor, v: Tensor, a: Tensor, *values: Any) -> _Four:
    by, adapts = _split(values)
    if not fused.supports(current, by.surrogate):
        return _forward_eager(current, v, a, *values)
    return fused.adaptive_forward(current, v, a, by, adapts)


def _backward_cuda(
    grad_spikes: Tensor, of_v: Tensor, of_a: Tensor, distances: Tensor, *values: Any
) -> _Three:
    by, adapts = _split(values)
    if not fused.supports(distances, by.surrogate):
        return _backward_eager(grad_spikes, of_v, of_a, distances, *values)
    return fused.adaptive_backward(grad_spikes, of_v, of_a, distances, by, adapts)


def _forward_fake(current: Tensor, v: Tensor, a: Tensor, *values: Any) -> _Four:
    spikes = eager.empty_like(current, current.dtype)
    distances = eager.empty_like(current, state_type(current.dtype))
    return spikes, distances, distances[0].clone(), distances[0].clone()


def _backward_fake(
    grad_spikes: Tensor, of_v: Tensor, of_a: Tensor, distances: Tensor, *values: Any
) -> _Three:
    one = torch.empty_like(distances[0])
    return torch.empty_like(distances), one, one.clone()


_library.impl("adaptive_forward", _forward_eager, "CompositeExplicitAutograd")
_library.impl("adaptive_backward", _backward_eager, "CompositeExplicitAutograd")
_library.impl("adaptive_forward", _forward_cpu, "CPU")
_library.impl("adaptive_backward", _backward_cpu, "CPU")
_library.impl("adaptive_forward", _forward_cuda, "CUDA")
_library.impl("adaptive_backward", _backward_cuda, "CUDA")
torch.library.register_fake("spikefront::adaptive_forward", _forward_fake)
torch.library.register_fake("spikefront::adaptive_backward", _backward_fake)


def adaptive_forward(
    current: Tensor, v: Tensor, a: Tensor, by: Constants, adapts: Adaptation
) -> _Four:
    """Return spikes and distances of h to the threshold, and v and a after them.

    Spikes and distances are like `current` (time, batch, ...), v and a (batch, ...) like those
    before it. Distances and states are at least in single precision.
    """
    out: _Four = torch.ops.spikefront.adaptive_forward(
        current, v, a, *by.values(), *adapts.values()
    )
    return out


def adaptive_backward(
    grad_spikes: Tensor,
    of_v: Tensor,
    of_a: Tensor,
    distances: Tensor,
    by: Constants,
    adapts: Adaptation,
) -> _Three:
    """Return the gradients of the current, (time, batch, ...), and of v and a before it.

    `of_v` and `of_a` (batch, ...) are the gradients of v and a after the last timestep.
    """
    out: _Three = torch.ops.spikefront.adaptive_backward(
        grad_spikes, of_v, of_a, distances, *by.values(), *adapts.values()
    )
    return out

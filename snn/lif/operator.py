"""The recurrence registered with torch: one operator, three bodies, and one for meta tensors."""

from typing import Any

import torch
from torch import Tensor

from snn.lif import eager, fused, native
from snn.lif.constants import CONSTANTS, Constants, state_type

_library = torch.library.Library("spikefront", "DEF")
_library.define(
    "lif_forward(Tensor current, Tensor? before, Tensor? learned, Tensor? leaks, "
    f"{CONSTANTS}) -> (Tensor spikes, Tensor h)"
)
_library.define(
    "lif_backward(Tensor grad_spikes, Tensor? carried, Tensor h, Tensor? before, "
    f"Tensor? learned, Tensor? leaks, {CONSTANTS}, bool with_constants) "
    "-> (Tensor grad_h, Tensor grad_constants)"
)

_Value = float | bool | str
_Optional = Tensor | None
_Pair = tuple[Tensor, Tensor]


def _forward_eager(
    current: Tensor, before: _Optional, learned: _Optional, leaks: _Optional, *constants: _Value
) -> _Pair:
    by = Constants.of(constants).learned(learned).each(leaks, current[0])
    return eager.forward(current, before, by)


def _forward_cpu(
    current: Tensor, before: _Optional, learned: _Optional, leaks: _Optional, *constants: _Value
) -> _Pair:
    by = Constants.of(constants)
    if learned is not None or not native.supports(current, by.surrogate):
        return _forward_eager(current, before, learned, leaks, *constants)
    return native.forward(current, before, by, leaks=leaks)


def _forward_cuda(
    current: Tensor, before: _Optional, learned: _Optional, leaks: _Optional, *constants: _Value
) -> _Pair:
    by = Constants.of(constants)
    if not fused.supports(current, by.surrogate):
        return _forward_eager(current, before, learned, leaks, *constants)
    return fused.forward(current, before, learned, by, leaks=leaks)


def _forward_fake(current: Tensor, *rest: Any) -> _Pair:
    spikes = eager.empty_like(current, current.dtype)
    return spikes, eager.empty_like(current, state_type(current.dtype))


# arguments of the backward bodies: carried, h, before, learned, leaks, the constants,
# with_constants


def _backward_eager(grad_spikes: Tensor, *arguments: Any) -> _Pair:
    (carried, h, before, learned, leaks), rest = arguments[:5], arguments[5:]
    by = Constants.of(rest[:-1]).learned(learned).each(leaks, h[0])
    gradient = eager.backward(grad_spikes, carried, h, by)
    if not rest[-1]:
        return gradient, _no_constants(h, leaks)
    if leaks is not None:
        return gradient, eager.leaks_gradient(h, before, gradient, by)
    return gradient, eager.constants_gradient(grad_spikes, carried, h, before, gradient, by)


def _backward_cpu(grad_spikes: Tensor, *arguments: Any) -> _Pair:
    (carried, h, before, learned, leaks), rest = arguments[:5], arguments[5:]
    by, wanted = Constants.of(rest[:-1]), bool(rest[-1])
    is_plain = learned is None and grad_spikes.dtype == h.dtype
    if not is_plain or not native.supports(h, by.surrogate):
        return _backward_eager(grad_spikes, *arguments)
    return native.backward(
        grad_spikes, carried, h, by, before=before, leaks=leaks, with_constants=wanted
    )


def _backward_cuda(grad_spikes: Tensor, *arguments: Any) -> _Pair:
    (carried, h, before, learned, leaks), rest = arguments[:5], arguments[5:]
    by, wanted = Constants.of(rest[:-1]), bool(rest[-1])
    if not fused.supports(h, by.surrogate):
        return _backward_eager(grad_spikes, *arguments)
    return fused.backward(
        grad_spikes, carried, h, before, learned, by, leaks=leaks, with_constants=wanted
    )


def _backward_fake(grad_spikes: Tensor, carried: _Optional, h: Tensor, *rest: Any) -> _Pair:
    return torch.empty_like(h), _no_constants(h, rest[2])


def _no_constants(h: Tensor, leaks: _Optional) -> Tensor:
    return h.new_zeros(2 if leaks is None else len(leaks), dtype=torch.float64)


_library.impl("lif_forward", _forward_eager, "CompositeExplicitAutograd")
_library.impl("lif_backward", _backward_eager, "CompositeExplicitAutograd")
_library.impl("lif_forward", _forward_cpu, "CPU")
_library.impl("lif_backward", _backward_cpu, "CPU")
_library.impl("lif_forward", _forward_cuda, "CUDA")
_library.impl("lif_backward", _backward_cuda, "CUDA")
torch.library.register_fake("spikefront::lif_forward", _forward_fake)
torch.library.register_fake("spikefront::lif_backward", _backward_fake)


def lif_forward(
    current: Tensor,
    before: Tensor | None,
    by: Constants,
    *,
    learned: Tensor | None = None,
    leaks: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return spikes and potentials h before the reset, both like `current` (time, batch, n, ...).

    `before` (batch, n, ...) is the last h of the previous timesteps, None at rest. `learned`
    (4,), double precision, replaces leak, threshold, fire and scale if their values are
    only on the device. `leaks` (n,), in the type of h, replaces the leak by one for each neuron
    or channel. In half precision are at most currents and spikes.
    """
    out: tuple[Tensor, Tensor] = torch.ops.spikefront.lif_forward(
        current, before, learned, leaks, *by.values()
    )
    return out


def lif_backward(
    grad_spikes: Tensor,
    carried: Tensor | None,
    h: Tensor,
    before: Tensor | None,
    by: Constants,
    *,
    learned: Tensor | None = None,
    leaks: Tensor | None = None,
    with_constants: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of h, (time, batch, n, ...), and of leak and threshold, (2,).

    With `leaks` the second is that of the leaks, (n,). It is zero unless `with_constants`.
    `carried` is the gradient of the h after the last timestep, None at the end; `learned` and
    `leaks` as in `lif_forward`.
    """
    out: tuple[Tensor, Tensor] = torch.ops.spikefront.lif_backward(
        grad_spikes, carried, h, before, learned, leaks, *by.values(), with_constants
    )
    return out


def body_of(device: str) -> str:
    """Return the name of the body for single precision on a kind of device."""
    if device == "cpu" and native.load() is not None:
        return "native"
    return "fused" if device == "cuda" and fused.kernels() is not None else "eager"

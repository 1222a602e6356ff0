"""The recurrence in plain torch operations, the definition for the other bodies.

Multiplications and additions are separate operations, never fused, so that other bodies
can give the same bits.
"""

import torch
from torch import Tensor

from snn.lif.constants import Constants, state_type
from snn.lif.surrogate import SURROGATES


def forward(current: Tensor, before: Tensor | None, by: Constants) -> tuple[Tensor, Tensor]:
    """Return spikes like `current` (time, ...), and potentials h before the reset.

    `before` (...) is the last h of the previous timesteps, None at rest. Potentials are in
    single precision for currents in half precision.
    """
    steps = current.shape[0]
    potentials = empty_like(current, state_type(current.dtype))
    spikes = empty_like(current, current.dtype)
    for index in range(steps):
        h = current[index].to(potentials.dtype)
        if before is not None:
            h = h + after_reset(before, by) * by.leak
        potentials[index] = h
        spikes[index] = h >= by.fire
        before = potentials[index]
    return spikes, potentials


def empty_like(current: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an empty tensor like `current`, dense, with time outermost in memory."""
    one = torch.empty_like(current[0])
    return one.new_empty_strided(current.shape, (one.numel(), *one.stride()), dtype=dtype)


def after_reset(h: Tensor, by: Constants) -> Tensor:
    """Return the potential v after the reset."""
    fired = (h >= by.fire).to(h.dtype)
    return h * (1 - fired) if by.is_hard else h - fired * by.threshold


def backward(
    grad_spikes: Tensor, carried: Tensor | None, potentials: Tensor, by: Constants
) -> Tensor:
    """Return the gradient of `potentials` h, (time, ...).

    `carried` (...) is the gradient of the first h after them, None at the end.
    """
    derivative = SURROGATES[by.surrogate].derivative
    gradient = torch.empty_like(potentials)
    for index in reversed(range(potentials.shape[0])):
        h = potentials[index]
        g = grad_spikes[index] * (derivative((h - by.fire) * by.scale, by.slope) * by.scale)
        if carried is not None:
            carry = carried * by.leak
            g = torch.where(h >= by.fire, 0, carry) + g if by.is_hard else carry + g
        gradient[index] = g
        carried = gradient[index]
    return gradient


def constants_gradient(
    grad_spikes: Tensor,
    carried: Tensor | None,
    potentials: Tensor,
    before: Tensor | None,
    gradient: Tensor,
    by: Constants,
) -> Tensor:
    """Return the gradients of leak and threshold, (2,), float64.

    `gradient` is the result of `backward`.
    """
    rising = SURROGATES[by.surrogate].derivative((potentials - by.fire) * by.scale, by.slope)
    fired = (potentials >= by.fire).to(potentials.dtype)
    of_threshold = -(grad_spikes * rising * by.scale * potentials / by.threshold).sum(
        dtype=torch.float64
    )
    of_leak = torch.zeros_like(of_threshold)
    left = after_reset(potentials, by)
    if before is not None:
        of_leak = (gradient[0] * after_reset(before, by)).sum(dtype=torch.float64)
    of_leak = of_leak + (gradient[1:] * left[:-1]).sum(dtype=torch.float64)
    if not by.is_hard:
        of_reset = (gradient[1:] * fired[:-1]).sum(dtype=torch.float64)
        if carried is not None:
            of_reset = of_reset + (carried * fired[-1]).sum(dtype=torch.float64)
        of_threshold = of_threshold - by.leak * of_reset
    return torch.stack([of_leak, of_threshold])


def leaks_gradient(
    potentials: Tensor, before: Tensor | None, gradient: Tensor, by: Constants
) -> Tensor:
    """Return the gradient of the leak of each neuron or channel, (n,), float64.

    Potentials are (time, batch, n, ...); `gradient` is the result of `backward`.
    """
    over = [axis for axis in range(potentials.dim()) if axis != 2]
    left = after_reset(potentials, by)
    found = (gradient[1:] * left[:-1]).sum(dim=over, dtype=torch.float64)
    if before is None:
        return found
    return found + (gradient[:1] * after_reset(before, by)).sum(dim=over, dtype=torch.float64)

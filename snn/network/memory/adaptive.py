"""Adaptive leaky integrate-and-fire neurons (ALIF; Bellec et al. 2018, arXiv 1803.09574; 2020).

    h[t] = leak * v[t-1] + x[t]
    s[t] = 1 if h[t] >= threshold + adaptation * a[t] else 0
    a[t+1] = adaptation_leak * a[t] + s[t]
    v[t] = h[t] - threshold * s[t], or 0 after a spike with a hard reset

Each spike makes the next one harder, for longer than the potential remembers. As in Bellec et
al. 2020 a spike adds 1 to a, the reset subtracts the threshold without its adaptation, and the
gradient flows through a. Like that of the potential, the reset carries no gradient.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snn.lif import state_type
from snn.lif.surrogate import SURROGATES
from snn.network.neurons import Lif


@dataclass(frozen=True, kw_only=True)
class AdaptiveLif(Lif):
    """Constants of a population of neurons whose threshold adapts."""

    adaptation: float  # rise of the threshold with each spike
    adaptation_leak: float  # decay factor of the rise per timestep

    def __call__(
        self,
        current: Tensor,
        state: Tensor | None,
        *,
        leak: Tensor | None = None,
        threshold: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spikes like `current` (time, batch, ...), and the state after them.

        `state` (batch, 2, ...) is v after the last reset, and a; None at rest. Leak and threshold
        are those of the constants.
        """
        assert leak is None
        assert threshold is None
        spikes, last = _AdaptiveFunction.apply(current, state, self)  # type: ignore[no-untyped-call]
        return spikes, last


class _AdaptiveFunction(torch.autograd.Function):
    """The recurrence as one autograd node that saves only the distances of h to the threshold."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, state: Tensor | None, lif: AdaptiveLif
    ) -> tuple[Tensor, Tensor]:
        dtype = state_type(current.dtype)
        by = lif.at(lif.leak, lif.threshold, dtype=dtype, is_learned=False)
        one = torch.zeros_like(current[0], dtype=dtype)
        v, a = (one, one) if state is None else state.unbind(1)
        spikes, distances = [], []
        for x in current:
            h = x.to(dtype) + v * by.leak
            distance = (h - by.fire) - a * lif.adaptation
            s = (distance >= 0).to(dtype)
            v = h * (1 - s) if by.is_hard else h - s * by.threshold
            a = a * lif.adaptation_leak + s
            spikes.append(s.to(current.dtype))
            distances.append(distance)
        ctx.save_for_backward(torch.stack(distances))
        ctx.lif, ctx.by, ctx.dtype = lif, by, current.dtype
        ctx.set_materialize_grads(False)
        return torch.stack(spikes), torch.stack([v, a], dim=1)

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, carried: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (distances,) = ctx.saved_tensors
        lif, by = ctx.lif, ctx.by
        if grad_spikes is None and carried is None:
            return None, None, None
        zero = torch.zeros_like(distances[0])
        of_v, of_a = (zero, zero) if carried is None else carried.unbind(1)
        derivative = SURROGATES[by.surrogate].derivative
        gradient = torch.empty_like(distances)
        for index in reversed(range(len(distances))):
            distance = distances[index]
            sent = of_a if grad_spikes is None else grad_spikes[index] + of_a
            risen = sent * lif.height * derivative(distance, by.slope)
            carry = torch.where(distance >= 0, 0, of_v) if by.is_hard else of_v
            gradient[index] = carry + risen
            of_v = gradient[index] * by.leak
            of_a = of_a * lif.adaptation_leak - risen * lif.adaptation
        of_state = torch.stack([of_v, of_a], dim=1) if ctx.needs_input_grad[1] else None
        return gradient.to(ctx.dtype), of_state, None

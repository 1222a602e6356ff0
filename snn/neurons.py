"""Leaky integrate-and-fire neurons.

    h[t] = leak * v[t-1] + x[t]                 potential before the spike
    s[t] = 1 if h[t] >= threshold else 0
    v[t] = h[t] - threshold * s[t]              soft reset
    v[t] = h[t] * (1 - s[t])                    hard reset

The input is not scaled by the leak. The reset carries no gradient.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from snn.surrogate import SURROGATES


@dataclass(frozen=True, kw_only=True)
class Lif:
    """Constants of a population of neurons."""

    leak: float = 0.5  # share of the potential kept per timestep
    threshold: float = 1.0
    reset: Literal["soft", "hard"] = "soft"
    surrogate: str = "atan"
    slope: float = 2.0

    def __call__(self, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Spikes and the potential left behind.

        `current` is (time, batch, ...), `v` (batch, ...) or None for rest.
        Returns spikes like `current` and the last potential like `v`.
        """
        if v is None:
            v = torch.zeros_like(current[0])
        spikes, left = _LifFunction.apply(current, v, self)  # type: ignore[no-untyped-call]
        return spikes, left


class _LifFunction(torch.autograd.Function):
    """The recurrence above as one node: only the potentials h are kept for backward."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, v: Tensor, lif: Lif) -> tuple[Tensor, Tensor]:
        potentials, spikes = torch.empty_like(current), torch.empty_like(current)
        for x, h, s in zip(current.unbind(0), potentials.unbind(0), spikes.unbind(0), strict=True):
            torch.add(x, v, alpha=lif.leak, out=h)
            torch.ge(h, lif.threshold, out=s)
            v = torch.sub(h, s, alpha=lif.threshold) if lif.reset == "soft" else h * (1 - s)
        ctx.save_for_backward(potentials)
        ctx.lif = lif
        return spikes, v

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor, grad_left: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None]:
        lif: Lif = ctx.lif
        (potentials,) = ctx.saved_tensors
        derivative = SURROGATES[lif.surrogate].derivative
        grad_current = torch.empty_like(potentials)
        carry = grad_left
        steps = zip(
            potentials.unbind(0), grad_spikes.unbind(0), grad_current.unbind(0), strict=True
        )
        for h, grad_s, grad_h in reversed(list(steps)):
            if lif.reset == "hard":
                carry = carry * (h < lif.threshold)
            torch.addcmul(carry, grad_s, derivative(h - lif.threshold, lif.slope), out=grad_h)
            carry = grad_h * lif.leak
        return grad_current, carry, None

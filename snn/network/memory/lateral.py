"""Lateral inhibition in a dense layer: a neuron's spike lowers the potential of all others.

    h[t] = leak * v[t-1] + x[t]
    v[t] = h[t] - threshold * (s[t] + inhibition * (spikes of the others at t))

With the traces a of all neurons, V = W a_in - threshold * (a + inhibition * (sum of the other
a)) at all times (Lee, Delbruck & Pfeiffer 2016, Front. Neurosci. 10:508, without a floor).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.neurons import Lif


def with_others(a: Tensor, inhibition: float) -> Tensor:
    """Return a + inhibition * (sum of the other neurons' a), (batch, neurons)."""
    return a * (1 - inhibition) + inhibition * a.sum(dim=1, keepdim=True)


def undone(error: Tensor, is_active: Tensor, inhibition: float) -> Tensor:
    """Return the inverse of `with_others` among the active neurons; 0 for the others."""
    error = error * is_active
    count = is_active.sum(dim=1, keepdim=True).clamp(min=1).to(error)
    share = inhibition / (1 + inhibition * (count - 1))
    return (error - share * error.sum(dim=1, keepdim=True)) * is_active / (1 - inhibition)


@dataclass(frozen=True, kw_only=True)
class LateralLif(Lif):
    """Constants of a dense population whose neurons inhibit each other."""

    inhibition: float  # of a spike, as a share of the threshold of each other neuron

    def __call__(
        self,
        current: Tensor,
        state: Tensor | None,
        *,
        leak: Tensor | None = None,
        threshold: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spikes like `current` (time, batch, neurons), and v after them, (batch, neurons).

        There is no gradient: the rule has its own.
        """
        del leak, threshold
        v = torch.zeros_like(current[0]) if state is None else state.detach()
        spikes = []
        for x in current.detach():
            h = self.leak * v + x
            s = (h >= self.firing_share * self.threshold).to(h)
            v = h - self.threshold * with_others(s, self.inhibition)
            spikes.append(s)
        return torch.stack(spikes), v

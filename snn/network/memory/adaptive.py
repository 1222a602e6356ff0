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

from snn.lif import Adaptation, adaptive_backward, adaptive_forward, state_type
from snn.network.layers import Layer
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
        adapts = Adaptation(rise=lif.adaptation, decay=lif.adaptation_leak, height=lif.height)
        zero = torch.zeros_like(current[0], dtype=dtype)
        v, a = (zero, zero) if state is None else state.unbind(1)
        spikes, distances, v, a = adaptive_forward(current, v, a, by, adapts)
        ctx.save_for_backward(distances)
        ctx.by, ctx.adapts, ctx.dtype = by, adapts, current.dtype
        ctx.set_materialize_grads(False)
        return spikes, torch.stack([v, a], dim=1)

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, carried: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        (distances,) = ctx.saved_tensors
        if grad_spikes is None and carried is None:
            return None, None, None
        if grad_spikes is None:
            grad_spikes = torch.zeros_like(distances)
        zero = torch.zeros_like(distances[0])
        v, a = (zero, zero) if carried is None else carried.unbind(1)
        gradient, v, a = adaptive_backward(grad_spikes, v, a, distances, ctx.by, ctx.adapts)
        of_state = torch.stack([v, a], dim=1) if ctx.needs_input_grad[1] else None
        return gradient.to(ctx.dtype), of_state, None


class Rises:
    """How far thresholds have adapted, for rules that learn timestep by timestep.

    A rise carries no gradient, like a reset: to pass one on, each connection of a neuron would
    need a trace of its own.
    """

    def __init__(self) -> None:
        self._rises: dict[Layer, Tensor] = {}  # a[t], (batch, ...)

    def of(self, layer: Layer) -> Tensor | None:
        """Return what is added to the thresholds of a layer, (batch, ...); None for nothing."""
        if layer not in self._rises:
            return None
        assert isinstance(layer.lif, AdaptiveLif)
        return layer.lif.adaptation * self._rises[layer]

    def add(self, layer: Layer, spikes: Tensor) -> None:
        """Raise thresholds by spikes (batch, ...) of a timestep, if they adapt."""
        if isinstance(layer.lif, AdaptiveLif):
            rise, before = spikes.detach(), self._rises.get(layer)
            if before is not None:
                rise = rise + layer.lif.adaptation_leak * before
            self._rises[layer] = rise

    def held(self) -> list[Tensor]:
        """Return the rises of all layers."""
        return list(self._rises.values())

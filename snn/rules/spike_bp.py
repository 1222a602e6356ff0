"""Spike-based backpropagation (Lee et al. 2020), as released.

Neurons fire above the threshold and return to zero. The error passes a neuron
where it fired, divided by the threshold and times a correction for the charge
that leaked, one per neuron and image for the whole run:

    kappa = 1[a > 0.001] + ln(leak) * a / N        N spikes with the trace
                                                   a = sum over spikes of leak^(T - t)

From a spike it goes back in time, undiminished, to every current since the
spike before; a current that no spike follows gets nothing. The leak is in
kappa alone: neither this path nor that of the integrators at the end, whose
output leaks, has it. Pooling neurons pass the error on as it is, with neither
kappa nor their threshold, as in the released code.

Only the spikes are kept for backward.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn.network.layers import ForwardContext, Layer, PoolNeurons
from snn.network.network import Network
from snn.network.readout import integrated
from snn.rules.loss import output_loss, per_image
from snn.rules.rule import Batch, BatchResult

SILENT = 1e-3
"""A spike trace up to this counts as none."""


def spike_bp(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """One graph over all timesteps, one backward pass, one step."""
    state.fire = fire
    outputs = network.run(
        batch.drive, state, timesteps=batch.timesteps, frozen=batch.frozen, wants=("logits",)
    )
    held = [_held(logits, network.config.readout_leak) for logits in outputs.logits]
    losses = [output_loss(output, batch.labels, loss=batch.loss) for output in held]
    loss = torch.stack(losses).mean()
    (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=per_image(loss, batch.labels, loss=batch.loss),
        correct=(held[-1].argmax(dim=1) == batch.labels).sum(),
    )


def _held(logits: Tensor, leak: float) -> Tensor:
    """The integrators' output with the gradient of integrators that do not leak."""
    mean = integrated(logits, leak=1.0)
    return mean + (integrated(logits, leak=leak) - mean).detach()


def fire(layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
    """Spikes of all timesteps with the derivative above; see `layers.Firing`."""
    spikes, left = _SpikeToSpike.apply(current, v, layer)  # type: ignore[no-untyped-call]
    return spikes, left


def correction(spikes: Tensor, leak: float) -> Tensor:
    """Kappa of each neuron and image (batch, ...), from all its spikes (time, batch, ...)."""
    trace = torch.zeros_like(spikes[0])
    for fired in spikes:
        trace = torch.add(fired, trace, alpha=leak)
    count = spikes.sum(dim=0).clamp(min=1)
    return (trace > SILENT).to(trace) + math.log(leak) * trace / count


class _SpikeToSpike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, v: Tensor | None, layer: Layer) -> tuple[Tensor, Tensor]:
        spikes, left = layer.lif(current, v)
        ctx.save_for_backward(spikes)
        ctx.layer = layer
        ctx.mark_non_differentiable(left)
        return spikes, left

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_left: Tensor) -> tuple[Tensor, None, None]:
        del grad_left
        (spikes,) = ctx.saved_tensors
        lif = ctx.layer.lif
        if not isinstance(ctx.layer, PoolNeurons):
            grad_spikes = grad_spikes * (correction(spikes, lif.leak) / lif.threshold)
        passed = torch.empty_like(spikes)
        since = torch.zeros_like(spikes[0])  # the error of the spike that follows
        steps = zip(spikes.unbind(0), grad_spikes.unbind(0), passed.unbind(0), strict=True)
        for fired, grad, out in reversed(list(steps)):
            since = torch.where(fired > 0, grad, since, out=out)
        return passed, None, None

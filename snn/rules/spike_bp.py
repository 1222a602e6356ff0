"""Spike-based backpropagation (Lee et al. 2020, Front. Neurosci. 14:119), as released.

Neurons fire above the threshold and return to zero. The error passes a neuron at its
spikes, divided by the threshold and multiplied by a correction for the leak, one factor
per neuron and image for the whole run:

    kappa = 1[a > 0.001] + ln(leak) * a / N        N spikes with the trace
                                                   a = sum over spikes of leak^(T - t)

The error of a spike is assigned undiminished to every current since the previous spike;
currents after the last spike have gradient zero. The leak appears in kappa only, neither
in this path nor in the gradient of the integrators, although their output leaks. Pooling
neurons pass the error unchanged, without kappa and threshold, as in the released code.

Only the spikes are saved for the backward pass.
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
from snn.rules.rule import Batch, BatchResult, time_rule

SILENT = 1e-3
"""A spike trace up to this value counts as zero."""


@time_rule("spike-bp")
def spike_bp(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one graph over all timesteps, one backward pass, one step."""
    state.fire = fire
    outputs = network.run(
        batch.drive, state, timesteps=batch.timesteps, frozen=batch.frozen, wants=("logits",)
    )
    finals = [_output(logits, network.config.readout_leak) for logits in outputs.logits]
    losses = [output_loss(output, batch.labels, loss=batch.loss) for output in finals]
    loss = torch.stack(losses).mean()
    (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=per_image(loss, batch.labels, loss=batch.loss),
        correct=(finals[-1].argmax(dim=1) == batch.labels).sum(),
    )


def _output(logits: Tensor, leak: float) -> Tensor:
    """Return the output of the integrators, with the gradient of integrators without leak."""
    mean = integrated(logits, leak=1.0)
    return mean + (integrated(logits, leak=leak) - mean).detach()


def fire(layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return spikes of all timesteps with the derivative above; see `layers.Firing`."""
    spikes, left = _SpikeToSpike.apply(current, v, layer)  # type: ignore[no-untyped-call]
    return spikes, left


def correction(spikes: Tensor, leak: float) -> Tensor:
    """Return kappa of each neuron and image, (batch, ...), from its spikes (time, batch, ...)."""
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
        since = torch.zeros_like(spikes[0])  # the error of the next spike
        steps = zip(spikes.unbind(0), grad_spikes.unbind(0), passed.unbind(0), strict=True)
        for fired, grad, out in reversed(list(steps)):
            since = torch.where(fired > 0, grad, since, out=out)
        return passed, None, None

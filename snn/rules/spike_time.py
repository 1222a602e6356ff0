"""Learning from the exact times of single spikes (Mostafa 2017, arXiv 1606.08165).

A neuron fires once, when its potential reaches the threshold: V(t) = sum over C of w_j
kernel(t - t_j), with C the inputs that have arrived before (`snn.network.first_spike`). So the
derivatives of its time are exact, without a surrogate:

    dt / dw_j = -kernel(t - t_j) / V'(t)          dt / dt_j = w_j kernel'(t - t_j) / V'(t)

The time has a closed form for each kernel. C is the first set of earliest inputs with which V is at
the threshold by the next timestep. Spike times are then rounded up to that timestep, so that
training and inference have the same spikes; derivatives are those of the exact times. The loss is
the cross-entropy of the negative output times, in units of a fifth of tau (Göltz et al. 2021, arXiv
1912.11443).

A neuron that does not fire has no spike time. Of an output neuron the loss takes the end, plus tau
times the share of the threshold that its last potential is short of it, so that a silent output
learns. A neuron whose weights do not add up to the threshold can never fire: what is missing is
penalised. Only times are kept for the backward pass: memory does not grow with the
timesteps.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.first_spike import FirstSpike
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.network.readout import Readout
from snn.rules.rule import Batch, BatchResult, time_rule

LEAST_SLOPE = 0.1
"""Lower bound of V' tau over the threshold in derivatives: spikes that graze the threshold."""

LEAST_DELAY = 32.0
"""Least time from an input to a spike, in rounding errors of the time: rounded up, a timestep."""


def first_times(spikes: Tensor) -> Tensor:
    """Return the timestep of the first spike, (batch, ...) of (time, batch, ...); inf for none."""
    steps = torch.arange(len(spikes), dtype=spikes.dtype, device=spikes.device)
    shaped = steps.view(-1, *[1] * (spikes.dim() - 1))
    return torch.where(spikes > 0, shaped, math.inf).amin(dim=0)


def crossing(times: Tensor, weight: Tensor, lif: FirstSpike, *, steps: int) -> Tensor:
    """Return the spike times (batch, neurons) of neurons with inputs at `times` (batch, inputs).

    Inputs arrive at timesteps 0 to `steps` - 1. inf stands for no spike, and for one after the
    last timestep. Nothing of the size of all timesteps is kept for the backward pass.
    """
    result: Tensor = _Crossing.apply(times, weight, lif, steps)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def causes(times: Tensor, weight: Tensor, out: Tensor, *, steps: int) -> Tensor:
    """Return how many inputs each spike of `out` (batch, neurons) depends on; 0 for no spike."""
    exists, total = (weight != 0).to(weight.dtype), torch.zeros_like(out)
    for step in range(steps):
        is_cause = (out > step) & out.isfinite()
        total += (times == step).to(weight.dtype) @ exists.T * is_cause
    return total


class _Crossing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times: Tensor, weight: Tensor, lif: FirstSpike, steps: int) -> Tensor:
        kernel = lif.kernel
        slow = fast = torch.zeros(len(times), len(weight), dtype=weight.dtype, device=weight.device)
        out = torch.full_like(slow, math.inf)
        least = LEAST_DELAY * steps * torch.finfo(weight.dtype).eps
        for step in range(steps - 1):  # a later one would fire after the end
            arrived = (times == step).to(weight.dtype) @ weight.T
            slow, fast = kernel.arrive(slow, fast, arrived)
            later = kernel.advance(slow, fast)
            fires = (kernel.potential(*later) >= lif.threshold) & out.isinf()
            delay = kernel.delay(slow, fast, lif.threshold).nan_to_num(1.0)
            out = torch.where(fires, step + delay.clamp(least, 1.0), out)
            slow, fast = later
        ctx.save_for_backward(times, weight, out)
        ctx.lif, ctx.steps = lif, steps
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        times, weight, out = ctx.saved_tensors
        kernel, least = ctx.lif.kernel, LEAST_SLOPE * ctx.lif.threshold / ctx.lif.tau
        fired = out.isfinite()
        slope = torch.zeros_like(out)  # V' at the spike
        for step, since in _since(out, ctx.steps):
            arrived = (times == step).to(weight.dtype) @ weight.T
            slope += arrived * kernel.slope(since) * (out > step)
        share = torch.where(fired, grad / slope.clamp(min=least), 0.0)
        of_weight = torch.zeros_like(weight)
        of_times = torch.zeros_like(times) if ctx.needs_input_grad[0] else None
        for step, since in _since(out, ctx.steps):
            shared, arrived = share * (out > step), (times == step).to(weight.dtype)
            of_weight -= (shared * kernel.value(since)).T @ arrived
            if of_times is not None:
                of_times += arrived * ((shared * kernel.slope(since)) @ weight)
        return of_times, of_weight, None, None


def _since(out: Tensor, steps: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each timestep with the time from it to finite spikes, 0 for others and earlier ones."""
    spikes = torch.where(out.isfinite(), out, 0.0)
    for step in range(steps):
        yield step, (spikes - step).clamp(min=0)


def after_the_end(times: Tensor, weight: Tensor, lif: FirstSpike, *, steps: int) -> Tensor:
    """Return for each output neuron (batch, neurons) the time that stands for no spike."""
    since = (steps - 1 - times).clamp(min=0)
    potential = lif.kernel.value(since) @ weight.T
    return steps + lif.tau * (1 - potential / lif.threshold).clamp(min=0)


class _RoundedUp(torch.autograd.Function):
    """Returns the next timestep, with the derivative of the time itself."""

    @staticmethod
    def forward(ctx: Any, times: Tensor, slack: float) -> Tensor:
        del ctx
        return (times - slack).ceil()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grad, None


class SpikeTimes:
    """Dynamics whose signals are spike times, (1, batch, ...)."""

    def __init__(self, network: Network) -> None:
        self.steps = network.config.timesteps
        self.outputs = {network.block(n).head.readout for n in range(len(network.blocks))}
        self.missing: list[Tensor] = []  # of weights to the threshold, by layer

    def enter(self, x: Tensor) -> Tensor:
        """Return the times unchanged."""
        return x

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the spike times of the layer."""
        lif, weight = layer.lif, batch.weight(layer.sources[0])
        assert isinstance(lif, FirstSpike)
        arrived = inputs[0][0].flatten(1)
        times = crossing(arrived, weight, lif, steps=self.steps)
        counter = layer.sources[0].counter
        if counter is not None:
            before = causes(arrived, weight, times, steps=self.steps)
            passes_error = arrived.requires_grad
            counter.paired(layer.sources[0], times, before, passes_error=passes_error)
        slack = 16 * self.steps * torch.finfo(times.dtype).eps  # of the computed time
        times = _RoundedUp.apply(times, slack)  # type: ignore[no-untyped-call]
        if layer in self.outputs:
            silent = after_the_end(arrived, weight, lif, steps=self.steps)
            times = torch.where(times.isfinite(), times, silent)
        self.missing.append((lif.threshold - weight.sum(dim=1)).clamp(min=0).sum())
        return times.unsqueeze(0)

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Raise: integrators have no spike times, and a config has none with this rule."""
        raise AssertionError(readout, x, batch)

    def held(self) -> list[Tensor]:
        """Return nothing: no tensor is kept."""
        return []


@time_rule("spike-time")
def spike_time(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one pass over spike times, one backward pass, one step."""
    x, before = batch.drive, ForwardContext()
    with torch.no_grad():
        for index in range(batch.frozen):
            x = network.block(index)(x, batch.timesteps, before)
    state.dynamics = dynamics = SpikeTimes(network)
    x, losses = first_times(x).unsqueeze(0), []
    answer = torch.zeros(())
    for index in range(batch.frozen, len(network.blocks)):
        block = network.block(index)
        x = block(x, 1, state)
        times = block.head(x, 1, state)[0][0]
        assert isinstance(block.head.readout, Layer)
        answer = answers_at_end(times, block.head.readout.lif, batch.timesteps)
        losses.append(F.cross_entropy(answer, batch.labels))
        answer = answer.clamp(min=0)  # no spike is no answer
    loss = torch.stack(losses).mean()
    missing = torch.stack(dynamics.missing).sum() * network.config.silence_penalty
    ((loss + missing) * batch.share).backward()
    apply()
    return BatchResult(loss=loss.detach(), correct=(answer.argmax(dim=1) == batch.labels).sum())


def answers_at_end(times: Tensor, lif: Lif, steps: int) -> Tensor:
    """Return the mean answer of output neurons after all timesteps, from their spike times."""
    assert isinstance(lif, FirstSpike)
    return lif.gain * (1 - times / steps)

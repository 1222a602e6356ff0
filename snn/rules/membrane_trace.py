"""Membrane potentials as differentiable signals (Lee, Delbruck & Pfeiffer 2016).

Front. Neurosci. 10:508. With the traces a of a neuron's own spikes and a_in of its inputs,

    V = W a_in + b L - threshold * a

holds at all times. Where a neuron has fired, its potential V is neglected against the
threshold, so that a is a linear function of its inputs, and of its threshold:

    da / da_in = W / threshold        da / dthreshold = - a / threshold

and of a neuron that has not fired both are 0. Here they are 0 as well where V is not below the
threshold after the last timestep: with one spike per timestep such a neuron is saturated, and
its potential cannot be neglected. The forward pass is that of SAF, which has
these traces (`snn.rules.saf`), and learns once from the end: memory does not grow with time.
With `error_norm` layer, the derivative 1 / threshold is replaced by sqrt(N / n) for each
image, with n of the N neurons of the layer active, so that errors keep their size from layer
to layer whatever thresholds and activity are. With `lateral_inhibition` mu, each spike lowers the
potentials of the other neurons of its layer by mu thresholds, so that

    V = W a_in + b L - threshold * (a + mu * (sum of the other a))

and derivatives are those of the inverse of 1 + mu (all ones - identity) over the active neurons.
The readout is that of the config, with its
loss; in the paper it is the squared error of relative spike counts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn.network.layers import ForwardContext, Layer
from snn.network.memory.lateral import LateralLif, undone, with_others
from snn.network.network import Network
from snn.rules.rule import Batch, BatchResult, time_rule
from snn.rules.saf import Accumulated, learn_from_end


class MembraneTraced(Accumulated):
    """Accumulated spikes with the derivative of neurons that have fired."""

    def __init__(self, leak: float, *, is_static: bool, is_normed: bool) -> None:
        super().__init__(leak, is_final_only=True, is_static=is_static)
        self.is_normed = is_normed

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the accumulated spikes after one more timestep, (1, batch, ...)."""
        potential = self.potential(layer, inputs, batch)
        lif, before = layer.lif, self._before.get(layer)
        mu = lif.inhibition if isinstance(lif, LateralLif) else 0.0
        kept = torch.zeros_like(potential) if before is None else lif.leak * before
        held = with_others(kept, mu) if mu > 0 else kept
        # the loss reaches thresholds through the last line alone
        relative = layer.scaled(torch.ones_like(potential[:1]))
        potential = potential * relative.detach()
        reached = potential - lif.threshold * (held + lif.firing_share) >= 0
        traces = kept + reached
        weight = with_others(traces, mu) if mu > 0 else traces
        # a neuron that fires at every timestep has a potential that cannot be neglected
        is_active = (traces > 0) & (potential - lif.threshold * weight < lif.threshold)
        accumulated: Tensor = _Trace.apply(  # type: ignore[no-untyped-call]
            potential, relative, traces, is_active, lif.threshold, self.is_normed, mu
        )
        self._before[layer] = accumulated.detach()
        return accumulated.unsqueeze(0)


class _Trace(torch.autograd.Function):
    """Returns the traces a, as a function of U / threshold and of the inverse thresholds."""

    @staticmethod
    def forward(
        ctx: Any,
        potential: Tensor,
        inverse: Tensor,
        a: Tensor,
        is_active: Tensor,
        threshold: float,
        is_normed: bool,
        mu: float,
    ) -> Tensor:
        del potential
        ctx.save_for_backward(a, inverse, is_active)
        ctx.threshold, ctx.is_normed, ctx.mu = threshold, is_normed, mu
        return a.view_as(a)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, inverse, is_active = ctx.saved_tensors
        error = undone(grad, is_active, ctx.mu) if ctx.mu > 0 else grad * is_active
        passed = error
        if ctx.is_normed:
            active = is_active.flatten(1).sum(dim=1).clamp(min=1)
            factor = (a[0].numel() / active).sqrt()
            # of a threshold per neuron, the derivative relative to its mean over active ones
            power = (is_active * inverse.square()).flatten(1).sum(dim=1) / active
            factor = factor / power.clamp(min=1e-30).sqrt()
            error = error * factor.view(-1, *[1] * (a.dim() - 1))
        else:
            error = error / ctx.threshold
        of_inverse = None
        if ctx.needs_input_grad[1]:  # of a = U * inverse / threshold
            summed = with_others(a, ctx.mu) if ctx.mu > 0 else a
            of_inverse = (passed * summed / inverse).sum(dim=0, keepdim=True)
        return error, of_inverse, None, None, None, None, None


@time_rule("membrane-trace")
def membrane_trace(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one step per batch, from the last timestep."""
    config = network.config
    dynamics = MembraneTraced(
        config.leak,
        is_static=network.is_constant(batch.drive),
        is_normed=config.error_norm == "layer",
    )
    return learn_from_end(network, batch, state, dynamics, apply=apply)

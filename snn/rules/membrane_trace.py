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
to layer whatever thresholds and activity are. The readout is that of the config, with its
loss; in the paper it is the squared error of relative spike counts.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snn.network.layers import ForwardContext, Layer
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
        kept = torch.zeros_like(potential) if before is None else lif.leak * before
        # the loss reaches thresholds through the last line alone
        relative = layer.scaled(torch.ones_like(potential[:1]))
        potential = potential * relative.detach()
        reached = potential - lif.threshold * (kept + lif.firing_share) >= 0
        traces = kept + reached
        # a neuron that fires at every timestep has a potential that cannot be neglected
        is_active = (traces > 0) & (potential - lif.threshold * traces < lif.threshold)
        accumulated: Tensor = _Trace.apply(  # type: ignore[no-untyped-call]
            potential, relative, traces, is_active, lif.threshold, self.is_normed
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
    ) -> Tensor:
        del potential
        ctx.save_for_backward(a, inverse, is_active)
        ctx.threshold, ctx.is_normed = threshold, is_normed
        return a.view_as(a)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        a, inverse, is_active = ctx.saved_tensors
        error = grad * is_active
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
            of_inverse = (grad * is_active * a / inverse).sum(dim=0, keepdim=True)
        return error, of_inverse, None, None, None, None


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

"""Synapses whose current decays: the input of current-based (CuBa) neurons.

    i[t] = decay * i[t-1] + x[t]        x: what the connections of a layer sum up

The potential integrates i instead of x. With decay 0 the neuron is a LIF neuron.
"""

from typing import Any

import torch
from torch import Tensor, nn

from snn.lif import decaying_sum


class Synapse(nn.Module):
    """The synaptic current of a population, called with a current and its state.

    Nothing is saved for the backward pass: the gradient is the same sum, backwards in time.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the synaptic current like `current` (time, batch, ...), and its last value.

        `state` (batch, ...) is the last value of the previous call, None for 0; its gradient
        is meaningful only to the call that returned it.
        """
        filtered, last = _Filtered.apply(current, state, self.decay)  # type: ignore[no-untyped-call]
        return filtered, last


class _Filtered(torch.autograd.Function):
    """As for potentials, the state carries the last value forwards, and backwards the gradient
    of the first value of the later call."""

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, state: Tensor | None, decay: float
    ) -> tuple[Tensor, Tensor]:
        ctx.decay, ctx.dtype, ctx.steps = decay, current.dtype, len(current)
        ctx.set_materialize_grads(False)
        out = decaying_sum(current, state, decay)
        return out, out[-1].clone()

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor | None, carried: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None]:
        if grad is None and carried is None:
            return None, None, None
        if grad is None:
            assert carried is not None
            grad = torch.zeros_like(carried).expand(ctx.steps, *carried.shape)
        out = decaying_sum(grad, carried, ctx.decay, is_backward=True)
        return out.to(ctx.dtype), out[0] if ctx.needs_input_grad[1] else None, None

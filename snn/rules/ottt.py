"""Online training through time (OTTT, Xiao et al. 2022, arXiv 2210.04195).

    trace[t] = leak * trace[t-1] + input[t]              of each connection's input
    dL[t]/dW = dL[t]/dh[t] (x) trace[t]                  error of this timestep alone

The error flows back through the layers of one timestep; no gradient flows through time.
`ottt-a` sums the gradients of all timesteps, `ottt-o` makes a step after each. Two
deviations from the released code make it equal to SAF and exact for the last spiking layer:
the input of the first layer and the biases have traces too (a bias is a weight whose input
is 1).
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from snn.lif.surrogate import spike
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.readout import Readout
from snn.rules.online import Unrolled, gathered, learn_forward, traced_map
from snn.rules.rule import Batch, BatchResult, time_rule


class Traced:
    """Dynamics with values from spikes and weight gradients from traces."""

    def __init__(self, leak: float, *, is_static: bool = False) -> None:
        self.leak = leak
        self.is_static = is_static  # constant inputs have constant weights too
        self._static: dict[Connections, tuple[Tensor, Tensor]] = {}  # a current, its leaf copy
        self.traces: dict[Connections, Tensor] = {}
        self.bias_trace = 0.0  # trace of a constant input of 1

    def enter(self, x: Tensor) -> Tensor:
        """Begin a timestep."""
        self.bias_trace = self.leak * self.bias_trace + 1
        return x

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the spikes of one timestep, (1, batch, ...)."""
        pairs = layer.driving(inputs, batch)
        current = reduce(add, (self._traced(conn, x[0], batch) for conn, x in pairs))
        if layer.skip is not None:
            current = current + layer.skip(inputs[-1])[0]
        if layer.bias is not None:
            bias = layer.bias.view(-1, *[1] * (current.dim() - 2))
            # the value of the bias with the gradient of its trace
            current = current + bias.detach() + self.bias_trace * (bias - bias.detach())
        current = layer.scaled(current)
        lif = layer.lif
        left = batch.states.get(layer)
        h = current if left is None else current + lif.leak * left
        distance = h - lif.firing_share * lif.threshold
        spikes = spike(distance, lif.surrogate, lif.slope, lif.height)
        batch.states[layer] = (h - lif.threshold * spikes).detach()
        return spikes.unsqueeze(0)

    def held(self) -> list[Tensor]:
        """Return the traces, and currents of constant inputs with their gradients."""
        static = [t for current, leaf in self._static.values() for t in (current, leaf.grad)]
        return [*self.traces.values(), *(t for t in static if t is not None)]

    def finish(self) -> None:
        """Compute the weight gradients of constant inputs, one product for all timesteps."""
        for current, leaf in self._static.values():
            if leaf.grad is not None:
                current.backward(leaf.grad)

    def _traced(self, conn: Connections, x: Tensor, batch: ForwardContext) -> Tensor:
        if self.is_static and conn.is_constant:
            if conn not in self._static:
                made = conn.mapped(x.unsqueeze(0), batch.weight(conn))
                self._static[conn] = made, made.detach().requires_grad_()
            # the trace of a constant input is the bias trace times the input
            scaled: Tensor = _Scaled.apply(self._static[conn][1], self.bias_trace)  # type: ignore[no-untyped-call]
            return scaled
        trace = x.detach()
        if conn in self.traces:
            trace = trace + self.leak * self.traces[conn]
        self.traces[conn] = trace
        weight = batch.weight(conn)
        return traced_map(conn, x, weight, trace=trace)

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Return the readout input; without a membrane there is no trace."""
        weight = batch.weight(readout.connections)
        return (readout.connections.mapped(x, weight) + readout.bias).unsqueeze(0)


class _Scaled(torch.autograd.Function):
    """Returns a value whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * grad, None


@time_rule("ottt-a")
def ottt_a(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one step per batch, with the summed gradients of all timesteps."""
    dynamics = Traced(network.config.leak, is_static=network.is_constant(batch.drive))
    with gathered(state, network.live_connections(batch.frozen)):
        result = learn_forward(
            Unrolled(network, batch, state), dynamics, apply=apply, every_step=False
        )
        dynamics.finish()
    apply()
    return result


@time_rule("ottt-o", is_online=True)
def ottt_o(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one step per timestep."""
    dynamics = Traced(network.config.leak)
    return learn_forward(Unrolled(network, batch, state), dynamics, apply=apply, every_step=True)

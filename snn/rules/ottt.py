"""Online training through time (OTTT, Xiao et al. 2022, arXiv 2210.04195).

    trace[t] = leak * trace[t-1] + input[t]              of each connection's input
    dL[t]/dW = dL[t]/dh[t] (x) trace[t]                  error of this timestep alone

The error flows back through the layers of one timestep; no gradient flows through time.
`ottt-a` sums the gradients of all timesteps, `ottt-o` makes a step after each. Two
deviations from the released code make it equal to SAF and exact for the last spiking layer:
the input of the first layer and the biases have traces too (a bias is a weight whose input
is 1). With a synaptic current i[t] = decay * i[t-1] + W x[t] the trace is that of the decaying
sum of the inputs, which is the same derivative of h by W.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any, TypeVar

import torch
from torch import Tensor

from snn.lif.surrogate import spike
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.memory.adaptive import Rises
from snn.network.network import Network
from snn.network.readout import Readout
from snn.rules.online import Unrolled, gathered, learn_forward, traced_map
from snn.rules.rule import Batch, BatchResult, time_rule

T = TypeVar("T", bound=torch.nn.Module)


class Traced:
    """Dynamics with values from spikes and weight gradients from traces."""

    def __init__(self, leak: float, *, synaptic_leak: float = 0.0, is_static: bool = False) -> None:
        self.leak, self.synaptic_leak = leak, synaptic_leak
        self.is_static = is_static  # constant inputs have constant weights too
        self._static: dict[Connections, tuple[Tensor, Tensor]] = {}  # a current, its leaf copy
        self.traces: dict[Connections, Tensor] = {}
        self.bias_trace = 0.0  # trace of a constant input of 1
        self._arrived: dict[object, Tensor] = {}  # sums that decay with the synaptic current
        self._currents: dict[Layer, Tensor] = {}  # traces of what thresholds divide
        self._length = 0.0  # of a constant input of 1
        self._rises = Rises()

    def enter(self, x: Tensor) -> Tensor:
        """Begin a timestep."""
        self._length = self.synaptic_leak * self._length + 1
        self.bias_trace = self.leak * self.bias_trace + self._length
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
        current = self._over_thresholds(layer, current)
        if layer.synapse is not None:
            before = batch.states.get(layer.synapse)
            current = current if before is None else current + layer.synapse.decay * before
            batch.states[layer.synapse] = current.detach()
        lif = layer.lif
        left = batch.states.get(layer)
        h = current if left is None else current + lif.leak * left
        distance, rise = h - lif.firing_share * lif.threshold, self._rises.of(layer)
        distance = distance if rise is None else distance - rise
        spikes = spike(distance, lif.surrogate, lif.slope, lif.height)
        self._rises.add(layer, spikes)
        batch.states[layer] = (h - lif.threshold * spikes).detach()
        return spikes.unsqueeze(0)

    def _over_thresholds(self, layer: Layer, current: Tensor) -> Tensor:
        """Return a current over thresholds, which learn from all currents that are still in h."""
        own = layer.thresholds
        if own is None or not own.requires_grad:
            return layer.scaled(current)
        whole = layer.scaled(self._trace(layer, current, self._currents))
        own = own.detach().view(-1, *[1] * (current.dim() - 2))
        return current / own + (whole - whole.detach())

    def _trace(self, owner: T, x: Tensor, traces: dict[T, Tensor]) -> Tensor:
        """Return the trace of a signal after one more timestep, which is kept in `traces`."""
        trace = x.detach()
        if self.synaptic_leak > 0:
            if owner in self._arrived:
                trace = trace + self.synaptic_leak * self._arrived[owner]
            self._arrived[owner] = trace
        if owner in traces:
            trace = trace + self.leak * traces[owner]
        traces[owner] = trace
        return trace

    def held(self) -> list[Tensor]:
        """Return the traces, and currents of constant inputs with their gradients."""
        static = [t for current, leaf in self._static.values() for t in (current, leaf.grad)]
        traces = [*self.traces.values(), *self._arrived.values(), *self._currents.values()]
        return [*traces, *self._rises.held(), *(t for t in static if t is not None)]

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
        trace = self._trace(conn, x, self.traces)
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
    config, is_static = network.config, network.is_constant(batch.drive)
    dynamics = Traced(config.leak, synaptic_leak=config.synaptic_leak, is_static=is_static)
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
    dynamics = Traced(network.config.leak, synaptic_leak=network.config.synaptic_leak)
    return learn_forward(Unrolled(network, batch, state), dynamics, apply=apply, every_step=True)

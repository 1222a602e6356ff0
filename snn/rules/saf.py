"""Spike accumulation forwarding (SAF, Saiin et al. 2023, arXiv 2310.02772).

The signals between layers are accumulated spikes a:

    U[t] = W a_in[t] + b * L[t]                       L[t] = (1 - leak^t) / (1 - leak)
    s[t] = 1 if U[t] >= threshold * (leak * a[t-1] + 1)
    a[t] = leak * a[t-1] + s[t]

With a synaptic current, a_in and L are replaced by sums of them that decay with it,
x[t] = decay * x[t-1] + a_in[t]: two decays in a row may change places. The spikes s equal those
of ordinary neurons with soft reset. U is computed in this closed
form: a recurrence with a detached past would lose the trace. `saf-e` makes a step after
every timestep, with the gradient of OTTT; `saf-f` runs all but the last timestep without a
graph and makes one step, from the accumulation at the end.
"""

from collections.abc import Callable
from functools import reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.lif.surrogate import spike
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.memory.adaptive import Rises
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.network.readout import Readout
from snn.rules.online import Unrolled, learn_forward, traced_map
from snn.rules.rule import Batch, BatchResult, time_rule


class Accumulated:
    """Dynamics with accumulated spikes as signals."""

    def __init__(
        self,
        leak: float,
        *,
        synaptic_leak: float = 0.0,
        is_final_only: bool = False,
        is_static: bool = False,
    ) -> None:
        self.leak, self.synaptic_leak = leak, synaptic_leak
        self.is_final_only = is_final_only
        self.is_static = is_static  # constant inputs have constant weights too
        self.static: dict[Connections, Tensor] = {}  # W x of such an input
        self.length = 0.0  # L[t]
        self._reach = 0.0  # L[t], or its sum that decays with the current
        self._arrived: dict[object, Tensor] = {}  # such sums of inputs, of connections and skips
        self._input: Tensor | None = None
        self._rises = Rises()  # of `saf-e`, whose timesteps all have a graph
        self._before: dict[object, Tensor] = {}  # a[t-1] of layers, last input of readouts

    def enter(self, x: Tensor) -> Tensor:
        """Begin a timestep; return the accumulated input of the first live block."""
        self.length = self.leak * self.length + 1
        self._reach = self.synaptic_leak * self._reach + self.length
        self._input = x if self._input is None else self.leak * self._input + x
        return self._input

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the accumulated spikes after one more timestep, (1, batch, ...)."""
        potential = layer.scaled(self.potential(layer, inputs, batch))
        lif, before = layer.lif, self._before.get(layer)
        kept = torch.zeros_like(potential) if before is None else lif.leak * before
        rise = self._rises.of(layer)
        potential = potential if rise is None else potential - rise
        if torch.is_grad_enabled():
            spikes = self.fired(lif, potential, kept)
            self._rises.add(layer, spikes)
            accumulated = kept + spikes
        else:
            accumulated = accumulate_(lif, potential, kept)
        self._before[layer] = accumulated.detach()
        return accumulated.unsqueeze(0)

    def potential(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return U of this timestep, (batch, ...), before thresholds of neurons divide it."""
        pairs = layer.driving(inputs, batch)
        driven = (self._driven(conn, self._decaying(conn, x[0]), batch) for conn, x in pairs)
        potential = reduce(add, driven)
        if layer.skip is not None:
            skipped = self._decaying(layer.skip, layer.skip(inputs[-1])[0])
            potential = potential + skipped
        if layer.bias is not None:
            bias = self._reach * layer.bias.view(-1, *[1] * (potential.dim() - 2))
            # in place, where no graph keeps the product
            potential = potential + bias if torch.is_grad_enabled() else potential.add_(bias)
        return potential

    def fired(self, lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
        """Return the spikes of this timestep; `kept` is leak * a[t-1]."""
        distance = potential - lif.threshold * (kept + lif.firing_share)
        return spike(distance, lif.surrogate, lif.slope, lif.height)

    def _decaying(self, owner: object, x: Tensor) -> Tensor:
        """Return an accumulated input of this timestep as it has arrived through the synapse."""
        if self.synaptic_leak == 0:
            return x
        before = self._arrived.get(owner)
        arrived = x if before is None else x + self.synaptic_leak * before
        self._arrived[owner] = arrived.detach()
        return arrived

    def _driven(self, conn: Connections, x: Tensor, batch: ForwardContext) -> Tensor:
        weight = batch.weight(conn)
        if conn.is_half:
            return traced_map(conn, x, weight, trace=x.detach())
        if not (self.is_static and conn.is_constant) or torch.is_grad_enabled():
            return conn.mapped(x.unsqueeze(0), weight)
        if conn not in self.static:  # first timestep, L = 1
            self.static[conn] = conn.mapped(x.unsqueeze(0), weight)
        return self.length * self.static[conn]

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Return the readout of this timestep's spikes; with `saf-f` of the weighted mean."""
        weight = batch.weight(readout.connections)
        if self.is_final_only:
            spikes = x / self.length
        else:
            before = self._before.get(readout)
            spikes = x if before is None else x - self.leak * before
            self._before[readout] = x.detach()
        return (readout.connections.mapped(spikes, weight) + readout.bias).unsqueeze(0)

    def held(self) -> list[Tensor]:
        """Return the accumulations."""
        kept = [*self._before.values(), *self._arrived.values(), *self._rises.held()]
        return kept if self._input is None else [*kept, self._input]


def accumulate_(lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
    """Add the spikes of a timestep to `kept`, in place; the same bits as with a graph.

    The steps of `saf-f` but the last are made of passes over memory: five here, ten with a graph.
    """
    distance = kept + lif.firing_share
    if lif.threshold != 1:
        distance.mul_(lif.threshold)
    torch.sub(potential, distance, out=distance)
    return kept.add_(torch.ge(distance, 0, out=distance))


@time_rule("saf-e", is_online=True)
def saf_e(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one step per timestep."""
    dynamics = Accumulated(network.config.leak, synaptic_leak=network.config.synaptic_leak)
    return learn_forward(Unrolled(network, batch, state), dynamics, apply=apply, every_step=True)


@time_rule("saf-f")
def saf_f(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one step per batch, from the last timestep."""
    is_static = network.is_constant(batch.drive)
    dynamics = Accumulated(network.config.leak, is_final_only=True, is_static=is_static)
    return learn_from_end(network, batch, state, dynamics, apply=apply)


def learn_from_end(
    network: Network,
    batch: Batch,
    state: ForwardContext,
    dynamics: Accumulated,
    *,
    apply: Callable[[], None],
) -> BatchResult:
    """Run all but the last timestep without a graph; make one step from the last one."""
    run = Unrolled(network, batch, state)
    with torch.no_grad():
        for index in range(batch.timesteps - 1):
            run.step(index, dynamics)
    state.weights.clear()  # computed without a graph
    dynamics.static.clear()
    logits = run.step(batch.timesteps - 1, dynamics)
    loss = torch.stack([F.cross_entropy(readout, batch.labels) for readout in logits]).mean()
    (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=loss.detach(),
        correct=(logits[-1].argmax(dim=1) == batch.labels).sum(),
        held=tuple(dynamics.held()),
    )

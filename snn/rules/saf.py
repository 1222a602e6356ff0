"""Spike accumulation forwarding (SAF, Saiin et al. 2023).

Only accumulated spikes travel between layers:

    U[t] = W a_in[t] + b * L[t]                       L[t] = (1 - leak^t) / (1 - leak)
    s[t] = 1 if U[t] >= threshold * (leak * a[t-1] + 1)
    a[t] = leak * a[t-1] + s[t]

These are the spikes of ordinary neurons with soft reset. U is taken in this
closed form and not as a recurrence: differentiated with its past held constant,
the recurrence would lose the trace. `saf-e` learns after every timestep, with
OTTT's gradient; `saf-f` runs all but the last timestep without a graph and
learns once, from the accumulation at the end.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.lif.surrogate import spike
from snn.network.blocks import Readout
from snn.network.layers import Connections, ForwardContext, Layer
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.rules.online import Unrolled, learn_forward
from snn.rules.rule import Batch, BatchResult


class Accumulated:
    """Dynamics: accumulated spikes instead of spikes, potentials from them alone."""

    def __init__(
        self, leak: float, *, is_final_only: bool = False, is_static: bool = False
    ) -> None:
        self.leak = leak
        self.is_final_only = is_final_only
        self.is_static = is_static  # neither an analog input nor its weights change
        self.static: dict[Connections, Tensor] = {}  # W x of such an input
        self.length = 0.0  # L[t]
        self._input: Tensor | None = None
        self._before: dict[object, Tensor] = {}  # a[t-1] of layers, and what readouts got

    def enter(self, x: Tensor) -> Tensor:
        """A new timestep begins: the accumulated input of the first live block."""
        self.length = self.leak * self.length + 1
        self._input = x if self._input is None else self.leak * self._input + x
        return self._input

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Accumulated spikes after one more timestep, (1, batch, ...)."""
        pairs = zip(layer.sources, inputs, strict=False)
        potential = sum(self._driven(conn, x[0], batch) for conn, x in pairs)
        assert isinstance(potential, Tensor)
        if layer.skip is not None:
            potential = potential + layer.skip(inputs[-1])[0]
        if layer.bias is not None:
            potential = potential + self.length * layer.bias.view(-1, *[1] * (potential.dim() - 2))
        lif, before = layer.lif, self._before.get(layer)
        kept = torch.zeros_like(potential) if before is None else lif.leak * before
        accumulated = kept + self.fired(lif, potential, kept)
        self._before[layer] = accumulated.detach()
        return accumulated.unsqueeze(0)

    def fired(self, lif: Lif, potential: Tensor, kept: Tensor) -> Tensor:
        """Spikes of this timestep; `kept` is the accumulation until now, leaked."""
        distance = potential - lif.threshold * (kept + lif.firing_share)
        return spike(distance, lif.surrogate, lif.slope)

    def _driven(self, conn: Connections, x: Tensor, batch: ForwardContext) -> Tensor:
        weight = batch.weight(conn)
        if not (self.is_static and conn.is_analog) or torch.is_grad_enabled():
            return conn.apply_weight(x, weight)
        if conn not in self.static:  # at the first timestep, when L is 1
            self.static[conn] = conn.apply_weight(x, weight)
        return self.length * self.static[conn]

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Of this timestep's spikes; for `saf-f` of the mean that weighs late spikes most."""
        weight = batch.weight(readout.connections)
        if self.is_final_only:
            spikes = x[0] / self.length
        else:
            before = self._before.get(readout)
            spikes = x[0] if before is None else x[0] - self.leak * before
            self._before[readout] = x[0].detach()
        return (readout.connections.apply_weight(spikes, weight) + readout.bias).unsqueeze(0)

    def held(self) -> list[Tensor]:
        """The accumulations."""
        return list(self._before.values()) + ([] if self._input is None else [self._input])


def saf_e(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """One step per timestep."""
    dynamics = Accumulated(network.config.leak)
    return learn_forward(Unrolled(network, batch, state), dynamics, apply=apply, every_step=True)


def saf_f(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """One step per batch, from the last timestep."""
    is_static = batch.drive.shape[0] == 1
    dynamics = Accumulated(network.config.leak, is_final_only=True, is_static=is_static)
    run = Unrolled(network, batch, state)
    with torch.no_grad():
        for index in range(batch.timesteps - 1):
            run.step(index, dynamics)
    state.weights.clear()  # made without a graph
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

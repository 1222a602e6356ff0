"""Differentiation on spike representation (DSR, Meng et al. 2022, arXiv 2205.00459).

Ordinary neurons run forward without a graph. The output of a layer is represented by its
rate, a weighted mean of its spikes in which late spikes weigh most. The rate is treated as
a function of the input rates:

    rate = sum over t of leak^(T - t) s[t] / sum over t of leak^(T - t)
    drive = W rate_in + b
    rate = clamp(drive / threshold, 0, 1)

The value of a rate is the counted one; its derivative by the drive is 1 / threshold if
0 < drive < threshold, else 0. No gradient flows through time, and memory does not grow
with the number of timesteps. In the paper a spike has the height of the threshold and the
input is scaled by the leak: other units, same rule.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.readout import Readout
from snn.rules.rule import Batch, BatchResult, time_rule


@time_rule("dsr", has_rates=True)
def dsr(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one backward pass over rates, one step."""
    state.observer = counted = Counted(network.config.leak)
    with torch.no_grad():
        x = _run(network, batch, state, counted)
    # weights were computed without a graph, and the pass over rates needs no states
    state.weights.clear()
    state.states.clear()
    state.constant.clear()
    state.observer = None
    state.dynamics = rates = Rates(counted.rates)
    logits = []
    for index in range(batch.frozen, len(network.blocks)):
        x = network.block(index)(x, 1, state)
        logits.append(network.block(index).head(x, 1, state)[0][0])
    loss = torch.stack([F.cross_entropy(readout, batch.labels) for readout in logits]).mean()
    (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=loss.detach(),
        correct=(logits[-1].argmax(dim=1) == batch.labels).sum(),
        held=tuple(rates.held()),
    )


def _run(network: Network, batch: Batch, state: ForwardContext, counted: "Counted") -> Tensor:
    """Run all timesteps; return the input rate of the first live block, (1, batch, ...)."""
    frozen = ForwardContext()
    input_sum: Tensor | None = None
    frozen.is_constant = state.is_constant = network.is_constant(batch.drive)
    is_input_constant = batch.frozen == 0 and state.is_constant
    for start in range(0, batch.timesteps, network.chunk_steps):
        steps = min(network.chunk_steps, batch.timesteps - start)
        x = batch.drive if state.is_constant else batch.drive[start : start + steps]
        for index in range(batch.frozen):
            x = network.block(index)(x, steps, frozen)
        if not is_input_constant:
            input_sum = counted.added(input_sum, x)
        for index in range(batch.frozen, len(network.blocks)):
            x = network.block(index)(x, steps, state)
            network.block(index).head(x, steps, state)
        counted.length = counted.length * counted.leak**steps + sum(
            counted.leak**age for age in range(steps)
        )
    return batch.drive if input_sum is None else input_sum / counted.length


class Counted:
    """Observer that sums spikes over time; late spikes weigh most."""

    def __init__(self, leak: float) -> None:
        self.leak = leak
        self.length = 0.0  # the sum of the weights
        self.totals: dict[Layer, Tensor] = {}  # (1, batch, ...)

    @property
    def rates(self) -> dict[Layer, Tensor]:
        """Weighted mean spikes by layer, (1, batch, ...)."""
        return {layer: total / self.length for layer, total in self.totals.items()}

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        del inputs
        self.totals[layer] = self.added(self.totals.get(layer), spikes)

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""

    def added(self, before: Tensor | None, x: Tensor) -> Tensor:
        """Return the sum `before` continued by the timesteps `x` (time, batch, ...)."""
        steps = len(x)
        ages = torch.arange(steps - 1, -1, -1, dtype=x.dtype, device=x.device)
        total = torch.einsum("t,t...->...", self.leak**ages, x).unsqueeze(0)
        return total if before is None else torch.add(total, before, alpha=self.leak**steps)


class Rates:
    """Dynamics of one pass over rates instead of timesteps."""

    def __init__(self, rates: dict[Layer, Tensor]) -> None:
        self.rates = rates

    def enter(self, x: Tensor) -> Tensor:
        """Return the input rates unchanged."""
        return x

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the rates of the layer, (1, batch, ...)."""
        pairs = zip(layer.sources, inputs, strict=False)
        drive = sum(conn(x, batch.weight(conn)) for conn, x in pairs)
        assert isinstance(drive, Tensor)
        if layer.skip is not None:
            drive = drive + layer.skip(inputs[-1])
        if layer.bias is not None:
            drive = drive + layer.bias.view(-1, *[1] * (drive.dim() - 3))
        drive = layer.scaled(drive)
        rate: Tensor = _Clamped.apply(drive, self.rates[layer], layer.lif.threshold)  # type: ignore[no-untyped-call]
        return rate

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Return the mean input of the integrators."""
        current: Tensor = readout.connections(x, batch.weight(readout.connections))
        return current + readout.bias

    def held(self) -> list[Tensor]:
        """Return the rates."""
        return list(self.rates.values())


class _Clamped(torch.autograd.Function):
    """Returns a rate, with the derivative of clamp(drive / threshold, 0, 1)."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, rate: Tensor, threshold: float) -> Tensor:
        ctx.save_for_backward((drive > 0) & (drive < threshold))
        ctx.threshold = threshold
        return rate.view_as(rate)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (is_between,) = ctx.saved_tensors
        return grad * is_between / ctx.threshold, None, None

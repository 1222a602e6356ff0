"""Training without time, for conversion into a spiking network.

Neurons are replaced by their rate map (`snn.network.rate_maps`), and a batch runs once, as
in an artificial neural network (ANN): neither memory nor time grow with the timesteps. The
blocks in training have the maps of the setting `rate_map`; finished blocks are converted
and have the map of their thresholds. How thresholds are found: `snn.training.conversion`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.readout import Readout
from snn.rules.loss import output_loss, per_image
from snn.rules.rule import Batch, BatchResult, time_rule


class Activations:
    """Dynamics of one pass without time."""

    def enter(self, x: Tensor) -> Tensor:
        """Return the image unchanged."""
        return x

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        """Return the rates of the layer, (1, batch, ...)."""
        assert layer.rate_map is not None
        rates: Tensor = layer.rate_map(layer.current(inputs, batch), layer.threshold)
        if batch.observer is not None:
            batch.observer.layer(layer, inputs, rates)
        return rates

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        """Return the outputs, (1, batch, classes)."""
        conn = readout.connections
        outputs: Tensor = conn(x, batch.weight(conn), readout.bias)
        return outputs

    def held(self) -> list[Tensor]:
        """Return nothing: no tensor is kept."""
        return []


@time_rule("conversion", has_rates=True, timeless=Activations)
def conversion(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one pass without time, one backward pass, one step."""
    state.dynamics = Activations()
    logits = network.run(
        batch.drive, state, timesteps=1, frozen=batch.frozen, wants=("logits",)
    ).logits
    outputs = [output[0] for output in logits]
    losses = [output_loss(output, batch.labels, loss=batch.loss) for output in outputs]
    loss = torch.stack(losses).mean()
    (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=per_image(loss, batch.labels, loss=batch.loss),
        correct=(outputs[-1].argmax(dim=1) == batch.labels).sum(),
    )

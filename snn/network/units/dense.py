"""An all-to-all layer."""

import math

from torch import Tensor, nn

from snn.network.layers import ForwardContext
from snn.network.pooling import Size
from snn.network.units.unit import BlockBuilder, SignalSpec, unit_module
from snn.settings.backbones import DenseUnit


@unit_module(DenseUnit)
class Dense(nn.Module):
    """All-to-all connections and their neurons."""

    def __init__(
        self, unit: DenseUnit, width: int, source: SignalSpec, builder: BlockBuilder, name: str
    ):
        super().__init__()
        neurons = unit.neurons * width
        self.layer = builder.layer(name, [(neurons, math.prod(source.shape))], [source])
        self.signal = SignalSpec(shape=(neurons,))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        spikes: Tensor = self.layer([x.flatten(2)], steps, batch)
        return spikes

    @staticmethod
    def extent(unit: DenseUnit, width: int, size: Size) -> tuple[int, Size]:
        """See UnitModule."""
        return unit.neurons * width, size

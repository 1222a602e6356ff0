"""A convolution, its neurons, and an optional pool."""

import math

from torch import Tensor, nn

from snn.network.layers import ForwardContext
from snn.network.pooling import Pooling, SpikePool
from snn.network.units.unit import BlockBuilder, SignalSpec, unit_module
from snn.settings.backbones import ConvUnit


@unit_module(ConvUnit)
class Conv(nn.Module):
    """Convolution, neurons, and a pool if the unit has one."""

    def __init__(
        self, unit: ConvUnit, width: int, source: SignalSpec, builder: BlockBuilder, name: str
    ):
        super().__init__()
        channels, height = unit.channels * width, source.shape[1]
        shape = (channels, source.shape[0], unit.kernel, unit.kernel)
        self.layer = builder.layer(name, [shape], [source])
        window: Pooling = "max" if builder.pooling == "max" else "average"
        self.pool = SpikePool(height, kernel=2 if unit.pool else 1, pooling=window)
        self.pooled = builder.pool_neurons(f"{name}.pool", self.pool)
        map_shape = (channels, self.pool.side, self.pool.side)
        if self.pooled is None:
            self.signal = SignalSpec(shape=map_shape, spikes_per_unit=self.pool.spikes_per_unit)
        else:
            self.signal = SignalSpec(shape=map_shape, kind="pool")

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        pooled: Tensor = self.pool(self.layer([x], steps, batch))
        return pooled if self.pooled is None else self.pooled([pooled], steps, batch)

    @staticmethod
    def extent(unit: ConvUnit, width: int, side: int) -> tuple[int, int]:
        """See UnitModule."""
        return unit.channels * width * side * side, math.ceil(side / 2) if unit.pool else side

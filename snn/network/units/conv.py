"""A convolution, its neurons, and an optional pool."""

from torch import Tensor, nn

from snn.network.layers import ForwardContext
from snn.network.pooling import Pooling, Size, SpikePool, divided
from snn.network.units.unit import BlockBuilder, SignalSpec, unit_module
from snn.settings.backbones import ConvUnit


@unit_module(ConvUnit)
class Conv(nn.Module):
    """Convolution, neurons, and a pool if the unit has one."""

    def __init__(
        self, unit: ConvUnit, width: int, source: SignalSpec, builder: BlockBuilder, name: str
    ):
        super().__init__()
        channels = unit.channels * width
        shape = (channels, source.shape[0], unit.kernel, unit.kernel)
        self.layer = builder.layer(name, [shape], [source])
        window: Pooling = "max" if builder.pooling == "max" else "average"
        self.pool = SpikePool(source.size, kernel=2 if unit.pool else 1, pooling=window)
        self.pooled = builder.pool_neurons(f"{name}.pool", self.pool)
        map_shape = (channels, *self.pool.size)
        if self.pooled is None:
            self.signal = SignalSpec(shape=map_shape, spikes_per_unit=self.pool.spikes_per_unit)
        else:
            self.signal = SignalSpec(shape=map_shape, kind="pool")

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        pooled: Tensor = self.pool(self.layer([x], steps, batch))
        return pooled if self.pooled is None else self.pooled([pooled], steps, batch)

    @staticmethod
    def extent(unit: ConvUnit, width: int, size: Size) -> tuple[int, Size]:
        """See UnitModule."""
        height, across = size
        return unit.channels * width * height * across, divided(size, 2 if unit.pool else 1)

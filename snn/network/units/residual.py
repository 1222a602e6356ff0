"""Two convolutions and a skip (Lee et al. 2020)."""

from torch import Tensor, nn

from snn.network.layers import ForwardContext, SubSample
from snn.network.pooling import Size, divided
from snn.network.units.unit import BlockBuilder, SignalSpec, unit_module
from snn.settings.backbones import ResidualUnit


@unit_module(ResidualUnit)
class Residual(nn.Module):
    """Two convolutions; the skip current joins the second before its neurons (Lee 2020)."""

    def __init__(
        self, unit: ResidualUnit, width: int, source: SignalSpec, builder: BlockBuilder, name: str
    ):
        super().__init__()
        inner, channels = source.shape[0], unit.channels * width
        self.first = builder.layer(f"{name}.conv1", [(channels, inner, 3, 3)], [source])
        between = SignalSpec(shape=(channels, *source.shape[1:]))
        shapes: list[tuple[int, ...]] = [(channels, channels, 3, 3)]
        skip = None
        if unit.skip == "conv":
            shapes.append((channels, inner, 1, 1))
        else:
            skip = SubSample(stride=unit.stride, spikes_per_unit=source.spikes_per_unit)
        self.second = builder.layer(
            f"{name}.conv2", shapes, [between, source], strides=[unit.stride] * 2, skip=skip
        )
        self.signal = SignalSpec(shape=(channels, *divided(source.size, unit.stride)))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        spikes: Tensor = self.second([self.first([x], steps, batch), x], steps, batch)
        return spikes

    @staticmethod
    def extent(unit: ResidualUnit, width: int, size: Size) -> tuple[int, Size]:
        """See UnitModule."""
        height, across = size
        return unit.channels * width * height * across, divided(size, unit.stride)

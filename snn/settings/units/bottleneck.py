"""A residual unit with a narrow middle (He et al. 2016, arXiv 1512.03385, figure 5)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from snn.settings.units.residual import SKIPS, joined
from snn.settings.units.unit import LayerPlan, Links, Shape, Unit, flag, number, size, variant

NARROW = 4  # the middle has this share of the channels (He et al. 2016)


@dataclass(frozen=True, kw_only=True)
class BottleneckUnit(Unit):
    """Convolutions 1x1, 3x3 and 1x1, the first two with a quarter of the channels, and a skip.

    Neurons follow each convolution; those of the third also receive the current of the skip.
    The 3x3 convolution and the skip have the stride.
    """

    letter: ClassVar[str] = "b"
    channels: int = size("channels")
    kernel: int = number("k", 3, "side of the middle kernel, pixels")
    stride: int = number("/", 1, "stride of the middle convolution")
    pool: bool = flag("p", "a 2x2 pool after the neurons")
    skip: Literal["conv", "identity", "none"] = variant(
        SKIPS, "skip: a 1x1 convolution, sub-sampling (i), or none (n)"
    )

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """See Unit."""
        narrow = -(-count // NARROW)
        first = LayerPlan(name="conv1", label="conv1", size=narrow, links=(Links(kernel=1),))
        middle = Links(source="conv1", kernel=self.kernel, stride=self.stride)
        second = LayerPlan(name="conv2", label="conv2", size=narrow, links=(middle,))
        links = Links(source="conv2", kernel=1)
        third = joined("conv3", "conv3", count, links, skip=self.skip, stride=self.stride)
        return first, second, third

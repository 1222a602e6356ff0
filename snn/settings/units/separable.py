"""A depthwise separable convolution (Howard et al. 2017, arXiv 1704.04861)."""

from dataclasses import dataclass
from typing import ClassVar

from snn.settings.units.unit import LayerPlan, Links, Shape, Unit, flag, number, size


@dataclass(frozen=True, kw_only=True)
class SeparableUnit(Unit):
    """One kernel for each incoming channel, then a 1x1 convolution; neurons follow both.

    The depthwise convolution has the stride; with `pool` a 2x2 pool follows.
    """

    letter: ClassVar[str] = "s"
    channels: int = size("channels")
    kernel: int = number("k", 3, "side of the depthwise kernels, pixels")
    stride: int = number("/", 1, "stride of the depthwise convolution")
    pool: bool = flag("p", "a 2x2 pool after the neurons")

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """See Unit."""
        own = Links(kernel=self.kernel, stride=self.stride, groups=source[0])
        across = Links(source="depthwise", kernel=1)
        return (
            LayerPlan(name="depthwise", label="depthwise", size=source[0], links=(own,)),
            LayerPlan(name="pointwise", label="pointwise", size=count, links=(across,)),
        )

"""A convolution, its neurons, and an optional pool."""

from dataclasses import dataclass
from typing import ClassVar

from snn.settings.units.unit import LayerPlan, Links, Shape, Unit, flag, number, size


@dataclass(frozen=True, kw_only=True)
class ConvUnit(Unit):
    """A convolution, norm and spiking neurons; with `pool` a 2x2 pool after them."""

    letter: ClassVar[str] = "c"
    channels: int = size("channels")
    kernel: int = number("k", 3, "side of the kernel, pixels")
    stride: int = number("/", 1, "stride")
    pool: bool = flag("p", "a 2x2 pool after the neurons")

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """See Unit."""
        links = Links(kernel=self.kernel, stride=self.stride)
        return (LayerPlan(name="layer", label="", size=count, links=(links,)),)

"""Two convolutions and a skip (Lee et al. 2020, Front. Neurosci. 14:119)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from snn.settings.units.unit import LayerPlan, Links, Shape, Skip, Unit, flag, number, size, variant

SKIPS = {"conv": "", "identity": "i", "none": "n"}
"""Letters of the skips of a residual unit: a 1x1 convolution, plain sub-sampling, none."""


@dataclass(frozen=True, kw_only=True)
class ResidualUnit(Unit):
    """Two 3x3 convolutions; the second's neurons also receive the current of a skip.

    The second convolution and the skip have the stride (Lee 2020). The skip is a 1x1
    convolution, plain sub-sampling if `skip` is "identity", or absent if it is "none".
    """

    letter: ClassVar[str] = "r"
    channels: int = size("channels")
    kernel: int = number("k", 3, "side of both kernels, pixels")
    stride: int = number("/", 1, "stride of the second convolution")
    pool: bool = flag("p", "a 2x2 pool after the neurons")
    skip: Literal["conv", "identity", "none"] = variant(
        SKIPS, "skip: a 1x1 convolution, sub-sampling (i), or none (n)"
    )

    def layers(self, source: Shape, count: int) -> tuple[LayerPlan, ...]:
        """See Unit."""
        first = LayerPlan(
            name="first", label="conv1", size=count, links=(Links(kernel=self.kernel),)
        )
        links = Links(source="first", kernel=self.kernel, stride=self.stride)
        second = joined("second", "conv2", count, links, skip=self.skip, stride=self.stride)
        return first, second


def joined(name: str, label: str, count: int, links: Links, *, skip: str, stride: int) -> LayerPlan:
    """Return a layer that also receives the current of a skip from the input of its unit."""
    sources = (links, Links(kernel=1, stride=stride)) if skip == "conv" else (links,)
    plain = Skip(stride=stride) if skip == "identity" else None
    return LayerPlan(name=name, label=label, size=count, links=sources, skip=plain)

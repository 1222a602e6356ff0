"""Named architectures as lists of units; channels are multiples of a width.

At width 64 with a hidden exit layer of 1024 neurons, `vgg9`, `resnet9` and
`resnet11` are the networks of Lee et al. 2020 (Front. Neurosci. 14:119), with
linear average pooling where they have pooling neurons.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ConvUnit:
    """Convolution, norm, spiking neurons; with `pool`, a 2x2 average of the spikes after them."""

    channels: int  # in multiples of the width
    kernel: int = 3
    pool: bool = False


@dataclass(frozen=True, kw_only=True)
class ResidualUnit:
    """Two 3x3 convolutions; the skip current joins the second before its neurons.

    The stride sits in the second convolution and in the skip (Lee 2020). The
    skip is a 1x1 convolution, or plain sub-sampling where `skip` is "identity".
    """

    channels: int  # in multiples of the width
    stride: int = 1
    skip: Literal["conv", "identity"] = "conv"


@dataclass(frozen=True, kw_only=True)
class DenseUnit:
    """All-to-all connections, norm, spiking neurons."""

    neurons: int  # in multiples of the width


Unit = ConvUnit | ResidualUnit | DenseUnit


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A named list of units."""

    name: str
    units: tuple[Unit, ...]
    meaning: str


def _stem() -> ConvUnit:
    return ConvUnit(channels=1, pool=True)


_THIRD_STRIDED = ResidualUnit(channels=8, stride=2)
_RESNET7 = (_stem(), ResidualUnit(channels=2), ResidualUnit(channels=4, stride=2))

_ALL = (
    Backbone(
        name="mlp",
        units=(DenseUnit(neurons=1),),
        meaning="one all-to-all spiking layer of `width` neurons",
    ),
    Backbone(
        name="mlp2",
        units=(DenseUnit(neurons=1), DenseUnit(neurons=1)),
        meaning="two all-to-all spiking layers of `width` neurons",
    ),
    Backbone(
        name="vgg5",
        units=(
            ConvUnit(channels=1, pool=True),
            ConvUnit(channels=2, pool=True),
            ConvUnit(channels=4),
        ),
        meaning="three convolutions, for 8x8 and 28x28 images",
    ),
    Backbone(
        name="vgg7",
        units=(
            ConvUnit(channels=1),
            ConvUnit(channels=1, pool=True),
            ConvUnit(channels=2),
            ConvUnit(channels=2, pool=True),
            ConvUnit(channels=4, pool=True),
        ),
        meaning="five convolutions",
    ),
    Backbone(
        name="vgg9",
        units=(
            ConvUnit(channels=1),
            ConvUnit(channels=1, pool=True),
            ConvUnit(channels=2),
            ConvUnit(channels=2, pool=True),
            ConvUnit(channels=4),
            ConvUnit(channels=4),
            ConvUnit(channels=4, pool=True),
        ),
        meaning="seven convolutions; at width 64 the VGG9 of Lee et al. 2020",
    ),
    Backbone(
        name="resnet5",
        units=(_stem(), ResidualUnit(channels=2, stride=2)),
        meaning="stem and one residual unit, for the smallest images",
    ),
    Backbone(name="resnet7", units=_RESNET7, meaning="stem and two residual units"),
    Backbone(
        name="resnet9",
        units=(*_RESNET7, _THIRD_STRIDED),
        meaning="stem and three residual units; at width 64 the ResNet-9 of BlocTrain",
    ),
    Backbone(
        name="resnet11",
        units=(
            *_RESNET7,
            ResidualUnit(channels=8),
            ResidualUnit(channels=8, stride=2, skip="identity"),
        ),
        meaning="stem and four residual units; at width 64 the ResNet-11 of Lee et al. 2020",
    ),
)

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}

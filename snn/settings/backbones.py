"""Named architectures as lists of units; channels are multiples of a width.

The fully connected layers of a published network are its exit: `head_hidden`
spiking neurons behind a pool to `head_grid` pixels a side, and the readout. With
these settings, in one block, the networks have the published numbers of weights
of connections:

| backbone    | width | head_hidden | head_grid | image   | weights    | source                |
| ----------- | ----- | ----------- | --------- | ------- | ---------- | --------------------- |
| `lenet`     | 10    | 200         | 7         | 1x28x28 | 517,500    | Lee et al. 2020       |
| `vgg9`      | 64    | 1024        | 4         | 3x32x32 | 5,938,880  | Lee et al. 2020       |
| `resnet9`   | 64    | 1024        | 4         | 3x32x32 | 13,217,472 | BlocTrain             |
| `resnet11`  | 64    | 1024        | 4         | 3x32x32 | 17,936,064 | Lee et al. 2020       |
| `vgg11`     | 64    | 0           | 1         | 3x32x32 | 9,222,848  | OTTT, VGG-11 WS       |
| `mlp`       | 800   | 0           | any       | 1x28x28 | 635,200    | Grad R, MNIST         |
| `6conv-2fc` | 256   | 2048        | 8         | 3x32x32 | 36,715,264 | Grad R, CIFAR-10      |

Grad R reads out with spiking class neurons (`readout` spiking), on CIFAR-10 ten per
class (`votes`), and pools by maxima (`pooling`). `vgg11` has 9.23 million parameters
with its biases and the gains of scaled weight standardisation.

Sources: Lee et al. 2020 (Front. Neurosci. 14:119); BlocTrain (Srinivasan & Roy 2021,
Front. Neurosci. 15:603433); OTTT (Xiao et al. 2022, arXiv 2210.04195); Grad R (Chen et
al. 2021, arXiv 2105.04916).
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ConvUnit:
    """Convolution, norm, spiking neurons; with `pool`, a pool of 2x2 of them."""

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
        name="lenet",
        units=(
            ConvUnit(channels=2, kernel=5, pool=True),
            ConvUnit(channels=5, kernel=5, pool=True),
        ),
        meaning="two 5x5 convolutions; at width 10 the LeNet of Lee et al. 2020",
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
        name="vgg11",
        units=(
            ConvUnit(channels=1),
            ConvUnit(channels=2, pool=True),
            ConvUnit(channels=4),
            ConvUnit(channels=4, pool=True),
            ConvUnit(channels=8),
            ConvUnit(channels=8, pool=True),
            ConvUnit(channels=8),
            ConvUnit(channels=8),
        ),
        meaning="eight convolutions; at width 64 the VGG-11 WS of OTTT",
    ),
    Backbone(
        name="6conv-2fc",
        units=(
            ConvUnit(channels=1),
            ConvUnit(channels=1),
            ConvUnit(channels=1, pool=True),
            ConvUnit(channels=1),
            ConvUnit(channels=1),
            ConvUnit(channels=1, pool=True),
        ),
        meaning="six convolutions of equal width; at width 256 the CIFAR-10 network of Grad R",
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

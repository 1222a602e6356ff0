"""Backbones: architectures by name, as lists of units; channels are multiples of a width.

The fully connected layers of a published network are its exit: a pool to `head_grid`
pixels a side, `head_hidden` spiking neurons and the readout. With these settings, in one
block, the networks have the published numbers of weights:

| backbone    | width | head_hidden | head_grid | image   | weights    | source                |
| ----------- | ----- | ----------- | --------- | ------- | ---------- | --------------------- |
| `lenet`     | 10    | 200         | 7         | 1x28x28 | 517,500    | Lee et al. 2020       |
| `vgg9`      | 64    | 1024        | 4         | 3x32x32 | 5,938,880  | Lee et al. 2020       |
| `resnet9`   | 64    | 1024        | 4         | 3x32x32 | 13,217,472 | BlocTrain             |
| `resnet11`  | 64    | 1024        | 4         | 3x32x32 | 17,936,064 | Lee et al. 2020       |
| `vgg11`     | 64    | 0           | 1         | 3x32x32 | 9,222,848  | OTTT, VGG-11 WS       |
| `mlp`       | 800   | 0           | any       | 1x28x28 | 635,200    | Grad R, MNIST         |
| `6conv-2fc` | 256   | 2048        | 8         | 3x32x32 | 36,715,264 | Grad R, CIFAR-10      |

Grad R has spiking output neurons (`readout` spiking), ten per class on CIFAR-10
(`votes`), and max pools (`pooling`). `vgg11` has 9.23 million parameters, including
biases and the gains of scaled weight standardisation.

Sources: Lee et al. 2020 (Front. Neurosci. 14:119); BlocTrain (Srinivasan & Roy 2021,
Front. Neurosci. 15:603433); OTTT (Xiao et al. 2022, arXiv 2210.04195); Grad R (Chen et
al. 2021, arXiv 2105.04916).
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ConvUnit:
    """A convolution, norm and spiking neurons; with `pool` a 2x2 pool after them."""

    channels: int  # in multiples of the width
    kernel: int = 3
    pool: bool = False


@dataclass(frozen=True, kw_only=True)
class ResidualUnit:
    """Two 3x3 convolutions; the second's neurons also receive the current of a skip.

    The second convolution and the skip have the stride (Lee 2020). The skip is a 1x1
    convolution, or plain sub-sampling if `skip` is "identity".
    """

    channels: int  # in multiples of the width
    stride: int = 1
    skip: Literal["conv", "identity"] = "conv"


@dataclass(frozen=True, kw_only=True)
class DenseUnit:
    """A fully connected layer, norm and spiking neurons."""

    neurons: int  # in multiples of the width


Unit = ConvUnit | ResidualUnit | DenseUnit


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A named list of units."""

    name: str
    units: tuple[Unit, ...]
    meaning: str


def _convs(text: str, *, kernel: int = 3) -> tuple[ConvUnit, ...]:
    """Return the units of a text like `1 2p`: channels, then p if a pool follows."""
    return tuple(
        ConvUnit(channels=int(word.rstrip("p")), kernel=kernel, pool=word.endswith("p"))
        for word in text.split()
    )


def _backbone(name: str, units: tuple[Unit, ...], meaning: str) -> Backbone:
    return Backbone(name=name, units=units, meaning=meaning)


_DENSE = DenseUnit(neurons=1)
_RESNET7: tuple[Unit, ...] = (
    *_convs("1p"),
    ResidualUnit(channels=2),
    ResidualUnit(channels=4, stride=2),
)

_ALL = (
    _backbone("mlp", (_DENSE,), "one fully connected spiking layer of `width` neurons"),
    _backbone("mlp2", (_DENSE,) * 2, "two fully connected spiking layers of `width` neurons"),
    _backbone(
        "lenet",
        _convs("2p 5p", kernel=5),
        "two 5x5 convolutions; at width 10 the LeNet of Lee et al. 2020",
    ),
    _backbone("vgg5", _convs("1p 2p 4"), "three convolutions, for 8x8 and 28x28 images"),
    _backbone("vgg7", _convs("1 1p 2 2p 4p"), "five convolutions"),
    _backbone(
        "vgg9",
        _convs("1 1p 2 2p 4 4 4p"),
        "seven convolutions; at width 64 the VGG9 of Lee et al. 2020",
    ),
    _backbone(
        "vgg11",
        _convs("1 2p 4 4p 8 8p 8 8"),
        "eight convolutions; at width 64 the VGG-11 WS of OTTT",
    ),
    _backbone(
        "6conv-2fc",
        _convs("1 1 1p 1 1 1p"),
        "six convolutions of equal width; at width 256 the CIFAR-10 network of Grad R",
    ),
    _backbone(
        "resnet5",
        (*_convs("1p"), ResidualUnit(channels=2, stride=2)),
        "stem and one residual unit, for the smallest images",
    ),
    _backbone("resnet7", _RESNET7, "stem and two residual units"),
    _backbone(
        "resnet9",
        (*_RESNET7, ResidualUnit(channels=8, stride=2)),
        "stem and three residual units; at width 64 the ResNet-9 of BlocTrain",
    ),
    _backbone(
        "resnet11",
        (
            *_RESNET7,
            ResidualUnit(channels=8),
            ResidualUnit(channels=8, stride=2, skip="identity"),
        ),
        "stem and four residual units; at width 64 the ResNet-11 of Lee et al. 2020",
    ),
)

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}

"""Backbones: architectures by name, each a text (`snn.settings.architecture`).

The fully connected layers of a published network are its exit: a pool to `head_grid`
pixels a side, `head_hidden` spiking neurons and the readout. With these settings, in one
block, the networks have the published numbers of weights:

| backbone    | width | head_hidden | head_grid | image   | weights    | source                |
| ----------- | ----- | ----------- | --------- | ------- | ---------- | --------------------- |
| `lenet`     | 10    | 200         | 7         | 1x28x28 | 517,500    | Lee et al. 2020       |
| `vgg9`      | 64    | 1024        | 4         | 3x32x32 | 5,938,880  | Lee et al. 2020       |
| `resnet9`   | 64    | 1024        | 4         | 3x32x32 | 13,217,472 | BlocTrain             |
| `resnet11`  | 64    | 1024        | 4         | 3x32x32 | 17,936,064 | Lee et al. 2020       |
| `resnet18`  | 64    | 0           | 1         | 3x32x32 | 11,164,352 | He et al. 2016        |
| `resnet34`  | 64    | 0           | 1         | 3x32x32 | 21,265,088 | He et al. 2016        |
| `resnet50`  | 64    | 0           | 1         | 3x32x32 | 23,467,712 | He et al. 2016        |
| `vgg11`     | 64    | 0           | 1         | 3x32x32 | 9,222,848  | OTTT, VGG-11 WS       |
| `mlp`       | 800   | 0           | any       | 1x28x28 | 635,200    | Grad R, MNIST         |
| `6conv-2fc` | 256   | 2048        | 8         | 3x32x32 | 36,715,264 | Grad R, CIFAR-10      |

Grad R has spiking output neurons (`readout` spiking), ten per class on CIFAR-10
(`votes`), and max pools (`pooling`). `vgg11` has 9.23 million parameters, including
biases and the gains of scaled weight standardisation. The networks of He et al. are theirs but for
the stem (3x3 without a pool, for small images, instead of 7x7) and the number of classes.

Sources: Lee et al. 2020 (Front. Neurosci. 14:119); BlocTrain (Srinivasan & Roy 2021,
Front. Neurosci. 15:603433); OTTT (Xiao et al. 2022, arXiv 2210.04195); Grad R (Chen et
al. 2021, arXiv 2105.04916); He et al. 2016 (arXiv 1512.03385, table 1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from snn.settings.architecture import format_architecture, parse_architecture
from snn.settings.units import ConvUnit, DenseUnit, ResidualUnit, Unit

__all__ = ["BACKBONES", "NAMES", "Backbone", "ConvUnit", "DenseUnit", "ResidualUnit", "Unit"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A named list of units."""

    name: str
    units: tuple[Unit, ...]
    meaning: str
    source: str = ""  # publication with this network; empty: none
    published: Mapping[str, str | int] = field(default_factory=dict)  # settings it was used with

    @property
    def text(self) -> str:
        """The architecture as a text."""
        return format_architecture(self.units)


LEE = "Lee et al. 2020, Front. Neurosci. 14:119"
BLOCTRAIN = "Srinivasan & Roy 2021, Front. Neurosci. 15:603433"
OTTT = "Xiao et al. 2022, arXiv 2210.04195"
HE = "He et al. 2016, arXiv 1512.03385"
GRAD_R = "Chen et al. 2021, arXiv 2105.04916"


def _deep(letter: str, *repeats: int) -> str:
    """A stem and four stages of He et al. 2016; the first unit of each adapts its skip."""
    size = 4 if letter == "b" else 1
    units = ["c1w"]
    for stage, count in enumerate(repeats):
        word = f"{letter}{size << stage}w"
        first = f"{word}/2" if stage else word if letter == "b" else f"{word}i"
        units += [first, *[f"{word}i"] * (count - 1)]
    return " ".join(units)


def _backbone(
    name: str, text: str, meaning: str, source: str = "", **published: str | int
) -> Backbone:
    units = parse_architecture(text)
    return Backbone(name=name, units=units, meaning=meaning, source=source, published=published)


_ALL = (
    _backbone(
        "mlp",
        "d1w",
        "one fully connected spiking layer of `width` neurons",
        GRAD_R,
        dataset="mnist",
        width=800,
        head_hidden=0,
    ),
    _backbone("mlp2", "d1w d1w", "two fully connected spiking layers of `width` neurons"),
    _backbone(
        "lenet",
        "c2wk5p c5wk5p",
        "two 5x5 convolutions; at width 10 the LeNet of Lee et al. 2020",
        LEE,
        dataset="mnist",
        width=10,
        head_hidden=200,
        head_grid=7,
    ),
    _backbone("vgg5", "c1wp c2wp c4w", "three convolutions, for 8x8 and 28x28 images"),
    _backbone("vgg7", "c1w c1wp c2w c2wp c4wp", "five convolutions"),
    _backbone(
        "vgg9",
        "c1w c1wp c2w c2wp c4w c4w c4wp",
        "seven convolutions; at width 64 the VGG9 of Lee et al. 2020",
        LEE,
        dataset="cifar10",
        width=64,
        head_hidden=1024,
    ),
    _backbone(
        "vgg11",
        "c1w c2wp c4w c4wp c8w c8wp c8w c8w",
        "eight convolutions; at width 64 the VGG-11 WS of OTTT",
        OTTT,
        dataset="cifar10",
        width=64,
        head_hidden=0,
        head_grid=1,
    ),
    _backbone(
        "6conv-2fc",
        "c1w c1w c1wp c1w c1w c1wp",
        "six convolutions of equal width; at width 256 the CIFAR-10 network of Grad R",
        GRAD_R,
        dataset="cifar10",
        width=256,
        head_hidden=2048,
        head_grid=8,
        readout="spiking",
        votes=10,
    ),
    _backbone("resnet5", "c1wp r2w/2", "stem and one residual unit, for the smallest images"),
    _backbone("resnet7", "c1wp r2w r4w/2", "stem and two residual units"),
    _backbone(
        "resnet9",
        "c1wp r2w r4w/2 r8w/2",
        "stem and three residual units; at width 64 the ResNet-9 of BlocTrain",
        BLOCTRAIN,
        dataset="cifar10",
        width=64,
        head_hidden=1024,
    ),
    _backbone(
        "resnet11",
        "c1wp r2w r4w/2 r8w r8w/2i",
        "stem and four residual units; at width 64 the ResNet-11 of Lee et al. 2020",
        LEE,
        dataset="cifar10",
        width=64,
        head_hidden=1024,
    ),
    *(
        _backbone(
            name,
            text,
            f"stem and {units}; at width 64 of He et al. 2016, for small images",
            HE,
            dataset="cifar10",
            width=64,
            head_hidden=0,
            head_grid=1,
        )
        for name, units, text in (
            ("resnet18", "eight residual units", _deep("r", 2, 2, 2, 2)),
            ("resnet34", "16 residual units", _deep("r", 3, 4, 6, 3)),
            ("resnet50", "16 bottleneck units", _deep("b", 3, 4, 6, 3)),
        )
    ),
)

BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _ALL}
NAMES: dict[str, str] = {backbone.text: backbone.name for backbone in _ALL}
"""Names of the built-in backbones by their text: that text is the network of that name."""

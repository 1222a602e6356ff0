"""The architecture, its blocks and their exits."""

import dataclasses
from dataclasses import dataclass

from snn.settings.backbones import BACKBONES
from snn.settings.declared.data import OF_EXTENSION
from snn.settings.declared.time_rules import SIGNED_WEIGHTS
from snn.settings.setting import Setting, choice, fraction, integer

DEFAULT_BACKBONE = "resnet7"


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The architecture, its blocks and their exits."""

    backbone: str = choice(
        "",
        BACKBONES,
        f"architecture by name, a list of units; {DEFAULT_BACKBONE} if architecture is not given",
        unknown=OF_EXTENSION,
        without="",
    )
    architecture: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(
                kind="text",
                meaning="architecture as a text instead of a name, a word for each unit, like "
                "c1wp r2w r4w/2: kind, channels (with w in multiples of width), options",
                without="",
            )
        },
    )
    width: int = integer(
        16,
        "base number of channels (or neurons); each unit has a multiple of it",
        low=1,
        high=65_536,
    )
    partition: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(
                kind="text", meaning="units per block, like 2+1+1; each block ends with an exit"
            )
        },
    )
    pooling: str = choice(
        "average",
        ("average", "max", "spiking"),
        "output of a 2x2 pool between layers: the mean of its spikes, their maximum, or the "
        "spikes of a neuron that sums the means and fires above 0.75; exits pool by the mean",
    )
    identity_share: float = fraction(
        0.0,
        "share of the variance of a neuron's initial weights that its connection from the neuron "
        "at its own place in the layer below has, where both layers are equally wide, and share of "
        "the normed current that the skip of a residual unit has: deep networks lose their input "
        "without it. 0 = none",
        without=0.0,
        only_with=SIGNED_WEIGHTS,
    )
    feedback: str = choice(
        "none",
        ("none", "last-to-first"),
        "feedback within each block, delayed by one timestep: none, or from the block's output "
        "to its first layer, through connections that start at zero",
    )
    head_hidden: int = integer(
        64,
        "hidden spiking neurons of each exit; 0 = no hidden layer",
        low=0,
        high=1_000_000,
        per_block=True,
    )
    head_grid: int = integer(
        4, "side of the map that each exit pools its input to, pixels", low=1, high=65_536
    )

    readout: str = choice(
        "integrator",
        ("integrator", "spiking"),
        "output neurons of an exit: integrators that never fire, or spiking neurons whose spikes "
        "are counted",
    )
    votes: int = integer(
        1, "output neurons per class, whose outputs are averaged", low=1, high=65_536
    )

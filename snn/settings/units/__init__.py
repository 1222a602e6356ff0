"""Units: the smallest parts of an architecture, between which a partition may cut.

A new kind is a file here with a subclass of `Unit`, and its line in `KINDS`.
"""

from snn.settings.units.bottleneck import BottleneckUnit
from snn.settings.units.conv import ConvUnit
from snn.settings.units.dense import DenseUnit
from snn.settings.units.residual import ResidualUnit
from snn.settings.units.separable import SeparableUnit
from snn.settings.units.unit import INPUT, LayerPlan, Links, Shape, Skip, Unit

_KINDS: tuple[type[Unit], ...] = (
    ConvUnit,
    ResidualUnit,
    BottleneckUnit,
    SeparableUnit,
    DenseUnit,
)
KINDS: dict[str, type[Unit]] = {kind.letter: kind for kind in _KINDS}
"""Kinds of units by the letter of their words; extensions add to it (`add_unit`)."""

__all__ = [
    "INPUT",
    "KINDS",
    "BottleneckUnit",
    "ConvUnit",
    "DenseUnit",
    "LayerPlan",
    "Links",
    "ResidualUnit",
    "SeparableUnit",
    "Shape",
    "Skip",
    "Unit",
]

"""The public interface for extensions: your own architectures, units, data sets and metrics.

An extension is a Python file named in SPIKEFRONT_EXTENSIONS, or a package with an entry point of
the group `spikefront.extensions`. From spikefront it may import only this module, because
extensions are loaded before the settings are declared.
"""

from snn.settings.extensions import (
    ExtensionError,
    add_backbone,
    add_dataset,
    add_events,
    add_metric,
    add_unit,
)
from snn.settings.units import (
    INPUT,
    BottleneckUnit,
    ConvUnit,
    DenseUnit,
    LayerPlan,
    Links,
    ResidualUnit,
    SeparableUnit,
    Skip,
    Unit,
)
from snn.settings.units.unit import Shape, flag, number, size, variant

__all__ = [
    "INPUT",
    "BottleneckUnit",
    "ConvUnit",
    "DenseUnit",
    "ExtensionError",
    "LayerPlan",
    "Links",
    "ResidualUnit",
    "SeparableUnit",
    "Shape",
    "Skip",
    "Unit",
    "add_backbone",
    "add_dataset",
    "add_events",
    "add_metric",
    "add_unit",
    "flag",
    "number",
    "size",
    "variant",
]

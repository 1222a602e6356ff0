"""What an extension imports: architectures and data sets of one's own, by name.

An extension is a Python file named in SPIKEFRONT_EXTENSIONS, or a package with an entry point of
the group `spikefront.extensions`. From spikefront it must import this module alone: extensions are
loaded before the settings are declared.
"""

from snn.settings.backbones import ConvUnit, DenseUnit, ResidualUnit
from snn.settings.extensions import ExtensionError, add_backbone, add_dataset

__all__ = [
    "ConvUnit",
    "DenseUnit",
    "ExtensionError",
    "ResidualUnit",
    "add_backbone",
    "add_dataset",
]

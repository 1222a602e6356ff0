"""The public interface for extensions: add your own architectures and data sets by name.

An extension is a Python file named in SPIKEFRONT_EXTENSIONS, or a package with an entry point of
the group `spikefront.extensions`. From spikefront it may import only this module, because
extensions are loaded before the settings are declared.
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

"""Deprecated re-export of the units, for older extensions; new ones use `snn.extensions`."""

import warnings

from snn.settings.backbones import BACKBONES, Backbone, ConvUnit, DenseUnit, ResidualUnit

__all__ = ["BACKBONES", "Backbone", "ConvUnit", "DenseUnit", "ResidualUnit"]

warnings.warn(
    "snn.backbones has moved: import ConvUnit, ResidualUnit and DenseUnit from snn.extensions",
    DeprecationWarning,
    stacklevel=2,
)

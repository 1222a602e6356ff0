"""Units: the smallest parts of a network, between which a partition may cut.

One file per kind of unit. All files of this folder are imported here, so that a new kind is
one file with an `@unit_module(Spec)` class, and its spec in `snn.settings.backbones`.
"""

import importlib
import pkgutil

from snn.network.units.unit import UNIT_MODULES, BlockBuilder, SignalSpec, UnitModule, unit_module

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["UNIT_MODULES", "BlockBuilder", "SignalSpec", "UnitModule", "unit_module"]

"""Rewiring: connections are removed, and may regrow, during training.

One file per method, registered with `@rewiring(name)`; all files of this folder are imported
here. A new form is one file, and its name among the choices of `RunConfig.rewiring`.
"""

import importlib
import pkgutil
from collections.abc import Sequence

from snn.network.connections import Connections
from snn.rewiring.connectivity_report import ConnectivityReport, connectivity
from snn.rewiring.rewirer import FORMS, Rewirer, rewiring
from snn.settings.config import RunConfig

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["FORMS", "ConnectivityReport", "Rewirer", "connectivity", "make_rewirer", "rewiring"]


def make_rewirer(
    connections: Sequence[Connections], config: RunConfig, *, index: int = 0
) -> Rewirer | None:
    """Return a rewirer that controls the connections, or None for a dense target.

    `index` tells apart parts of a network that are rewired separately with one seed.
    """
    if config.target_sparsity == 0:
        return None
    return FORMS[config.rewiring](connections, config, index)

"""Interchange: networks as NIR graphs, which other simulators and chips read (neuroir.org).

The one home of the package `nir`, which is an extra: it is loaded when it is used.

A graph has no timesteps of its own; ours is written for Euler steps of DT_S seconds,
as snnTorch and SpikingJelly take them. With NIR's equation tau dv/dt = v_leak - v + R I
a step keeps the share 1 - dt / tau of a potential, and R = tau / dt leaves currents as
they are. So a leak becomes tau = dt / (1 - leak), and weights stay as they were trained.
"""

from snn.interchange.description import DT_S, InterchangeError
from snn.interchange.files import nir_library, read, write

__all__ = ["DT_S", "InterchangeError", "nir_library", "read", "write"]

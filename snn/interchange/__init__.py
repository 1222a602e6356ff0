"""Interchange: networks as NIR graphs, which other simulators and chips read (neuroir.org).

Only this package imports `nir`, an optional dependency, and only when it is used.

A graph has no timestep of its own. Ours are written for Euler steps of DT_S seconds, as
snnTorch and SpikingJelly assume, or, for recordings in bins of one length, of that length
(below: dt). By NIR's equation tau dv/dt = v_leak - v + R I a step
multiplies a potential by 1 - dt / tau, and R = tau / dt leaves currents unchanged.
Therefore tau = dt / (1 - leak), and weights stay as trained.
"""

from snn.interchange.description import DT_S, InterchangeError
from snn.interchange.files import nir_library, read, write

__all__ = ["DT_S", "InterchangeError", "nir_library", "read", "write"]

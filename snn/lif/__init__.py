"""The recurrence of leaky integrate-and-fire neurons as one operator with several bodies.

`torch.ops.spikefront.lif_forward` and `lif_backward` run it over any number of
timesteps. Which body does it depends on the device and on what the machine has:

- `eager`: plain torch operations; the reference, runs everywhere;
- `native`: one pass over memory in C, compiled once for the machine; CPU.

All bodies make the same spikes, bit for bit.
"""

from snn.lif.constants import Constants, just_above
from snn.lif.operator import body_of, lif_backward, lif_forward

__all__ = ["Constants", "body_of", "just_above", "lif_backward", "lif_forward"]

"""The recurrence of leaky integrate-and-fire neurons as one operator with several bodies.

`torch.ops.spikefront.lif_forward` and `lif_backward` run it over any number of
timesteps. Which body does it depends on the device and on what the machine has:

- `eager`: plain torch operations; the reference, runs everywhere;
- `native`: one pass over memory in C, compiled once for the machine; CPU;
- `fused`: one kernel over all timesteps in Triton; CUDA.

The first two make the same spikes, bit for bit. The third does in Triton's
interpreter; on a GPU it was not tried yet.
"""

from snn.lif.constants import Constants, just_above, state_type
from snn.lif.operator import body_of, lif_backward, lif_forward

__all__ = ["Constants", "body_of", "just_above", "lif_backward", "lif_forward", "state_type"]

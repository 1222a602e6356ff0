"""The recurrence of leaky integrate-and-fire (LIF) neurons as one operator, three bodies.

`torch.ops.spikefront.lif_forward` and `lif_backward` run the recurrence over any number of
timesteps. The body depends on the device and the software of the machine:

- `eager`: plain torch operations, on every device; the other bodies are tested against it;
- `native`: C, one pass over memory, compiled once per machine; CPU;
- `fused`: Triton, one kernel over all timesteps; CUDA.

The first two give the same spikes, bit for bit; so does the third in Triton's interpreter.
"""

from snn.lif.adaptive import adaptive_backward, adaptive_forward
from snn.lif.constants import Adaptation, Constants, just_above, state_type
from snn.lif.decaying import decaying_sum
from snn.lif.operator import body_of, lif_backward, lif_forward

__all__ = [
    "Adaptation",
    "Constants",
    "adaptive_backward",
    "adaptive_forward",
    "body_of",
    "decaying_sum",
    "just_above",
    "lif_backward",
    "lif_forward",
    "state_type",
]

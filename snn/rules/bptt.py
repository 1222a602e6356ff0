"""Backpropagation through time (Werbos 1990), exact but for surrogate and reset.

The derivative of a spike is the surrogate of the neurons; the reset has no gradient.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.rules.loss import output_loss, per_image, readout_loss
from snn.rules.online import gathered
from snn.rules.rule import Batch, BatchResult, time_rule


@time_rule("bptt")
def bptt(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one graph over all timesteps, one backward pass, one step."""
    leak = network.config.readout_leak
    uses_mean = batch.loss in ("mean-readout", "squared-error") and leak == 1
    is_checkpointed = network.memory_mode == "checkpointed"  # segments send gradients to leaves
    live = network.live_connections(batch.frozen)
    with gathered(state, live) if is_checkpointed else nullcontext():
        outputs = network.run(
            batch.drive,
            state,
            timesteps=batch.timesteps,
            frozen=batch.frozen,
            wants=("means",) if uses_mean else ("logits",),
        )
        if uses_mean:
            losses = [output_loss(mean, batch.labels, loss=batch.loss) for mean in outputs.means]
            output = outputs.means[-1].detach()
        else:
            losses = [
                readout_loss(logits, batch.labels, loss=batch.loss, leak=leak)
                for logits in outputs.logits
            ]
            output = integrated(outputs.logits[-1].detach(), leak=leak)
        loss = torch.stack(losses).mean()
        (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=per_image(loss, batch.labels, loss=batch.loss),
        correct=(output.argmax(dim=1) == batch.labels).sum(),
    )

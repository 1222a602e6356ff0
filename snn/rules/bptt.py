"""Backpropagation through time, exact but for the surrogate and the undifferentiated reset."""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from snn.network.blocks import connections_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.rules.loss import output_loss, per_image, readout_loss
from snn.rules.online import gathered
from snn.rules.rule import Batch, BatchResult


def bptt(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """One graph over all timesteps, one backward pass, one step."""
    live = [c for block in list(network.blocks)[batch.frozen :] for c in connections_of(block)]
    leak = network.config.readout_leak
    judges_mean = batch.loss in ("mean-readout", "squared-error") and leak == 1
    # stretches that are run again give their gradients to leaves
    is_checkpointed = network.memory_mode == "checkpointed"
    with gathered(state, live) if is_checkpointed else nullcontext():
        outputs = network.run(
            batch.drive,
            state,
            timesteps=batch.timesteps,
            frozen=batch.frozen,
            wants=("means",) if judges_mean else ("logits",),
        )
        if judges_mean:
            losses = [output_loss(mean, batch.labels, loss=batch.loss) for mean in outputs.means]
            held = outputs.means[-1].detach()
        else:
            losses = [
                readout_loss(logits, batch.labels, loss=batch.loss, leak=leak)
                for logits in outputs.logits
            ]
            held = integrated(outputs.logits[-1].detach(), leak=leak)
        loss = torch.stack(losses).mean()
        (loss * batch.share).backward()
    apply()
    return BatchResult(
        loss=per_image(loss, batch.labels, loss=batch.loss),
        correct=(held.argmax(dim=1) == batch.labels).sum(),
    )

"""One training step: a batch through its time rule, whole or in micro-batches.

Images do not interact, so the gradient of a batch is the sum of the gradients of its parts.
With one part at a time, only the activations of one part are in memory.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.rules.online import gathered
from snn.rules.rule import ONLINE_RULES, TIME_RULES, Batch, BatchResult


def learn(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Train on a batch by the time rule of the network's config; see TimeRule.

    The batch is undivided for online rules, which learn at every timestep, and for batch
    norm and rate norm, whose statistics are those of the whole batch.
    """
    name, images = network.config.time_rule, len(batch.labels)
    rule, size = TIME_RULES[name], network.micro_batch
    is_whole = name in ONLINE_RULES or network.config.is_whole
    if is_whole or size >= images:
        return rule(network, batch, state, apply=apply)
    losses, correct = [], []
    with gathered(state, network.live_connections(batch.frozen)):
        for first in range(0, images, size):
            part = _part(batch, slice(first, first + size))
            own = ForwardContext(weights=dict(state.weights), generator=state.generator)
            result = rule(network, part, own, apply=lambda: None)
            losses.append(result.loss * (len(part.labels) / images))
            correct.append(result.correct)
    apply()
    return BatchResult(
        loss=torch.stack(losses).sum(), correct=torch.stack(correct).sum(), held=result.held
    )


def _part(batch: Batch, images: slice) -> Batch:
    labels = batch.labels[images]
    # a sum over images is the sum of its parts, a mean is their mean weighted by size
    share = 1.0 if batch.loss == "squared-error" else len(labels) / len(batch.labels)
    return replace(batch, drive=batch.drive[:, images].contiguous(), labels=labels, share=share)

"""One step of learning: a batch through its rule, whole or in parts.

Images do not meet each other on the way, so the gradient of a batch is the sum
of those of its parts. Taken one part after the other, what is kept for backward
is that of a part.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from snn.network.blocks import connections_of
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.rules.online import gathered
from snn.rules.rule import Batch, BatchResult, TimeRule


def learn(
    network: Network,
    batch: Batch,
    state: ForwardContext,
    *,
    apply: Callable[[], None],
    rules: Mapping[str, TimeRule],
    whole: frozenset[str],
) -> BatchResult:
    """Train on a batch by the rule in time of the network's config; see TimeRule.

    Rules in `whole` learn on the way and get the batch undivided.
    """
    name, images = network.config.time_rule, len(batch.labels)
    rule, size = rules[name], network.micro_batch
    if name in whole or size >= images:
        return rule(network, batch, state, apply=apply)
    live = [c for block in list(network.blocks)[batch.frozen :] for c in connections_of(block)]
    losses, correct = [], []
    with gathered(state, live):
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
    # a sum over images is the sum of its parts, a mean is their mean by size
    share = 1.0 if batch.loss == "squared-error" else len(labels) / len(batch.labels)
    return replace(batch, drive=batch.drive[:, images].contiguous(), labels=labels, share=share)

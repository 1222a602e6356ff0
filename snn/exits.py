"""What the exits of a network say, and how their words are combined."""

from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network import Network


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the exit of one block says; all (batch,) but `probabilities` (batch, all classes)."""

    probabilities: Tensor
    confidence: Tensor
    label: Tensor
    hardness: Tensor  # probability that the input needs the next block


def verdict(
    network: Network, index: int, readout: Tensor, features: Tensor, before: Tensor | None
) -> Verdict:
    """Combine what block `index` sees with what the block before it said.

    `readout` (batch, classes of the block) and `features` (batch, features) are
    means over the timesteps run. A block that tells all classes apart overrules
    the one before. One that knows only hard classes shares out the probability
    that they had together, and leaves the others as they were: it is never
    asked about a class that it has not seen.
    """
    head = network.block(index).head
    own = torch.softmax(readout, dim=1)
    if len(head.classes) == network.task.classes:
        probabilities = own
    else:
        assert before is not None
        classes = torch.tensor(head.classes, device=own.device)
        mass = before[:, classes].sum(dim=1, keepdim=True)
        probabilities = before.index_copy(1, classes, own * mass)
    confidence, label = probabilities.max(dim=1)
    hardness = _hardness(network, index, probabilities, features)
    return Verdict(
        probabilities=probabilities, confidence=confidence, label=label, hardness=hardness
    )


def _hardness(network: Network, index: int, probabilities: Tensor, features: Tensor) -> Tensor:
    head, kind = network.block(index).head, network.config.detector
    if kind == "none" or not head.hard:
        return torch.zeros_like(probabilities[:, 0])
    if kind == "mass":
        return probabilities[:, list(head.hard)].sum(dim=1)
    if head.detector is None:  # every class of the block is hard
        return torch.ones_like(probabilities[:, 0])
    weight = head.detector.connections.weight
    logits = head.detector.connections.apply_weight(features, weight) + head.detector.bias
    return torch.softmax(logits, dim=1)[:, 1]


def mean_over(inputs: Tensor, steps: int) -> Tensor:
    """What an integrator holds after `steps` timesteps, per timestep; `inputs` has time first."""
    return inputs[:steps].sum(dim=0) / steps

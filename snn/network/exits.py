"""What the exits of a network say, and how their words are combined."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.network import Network


@dataclass(frozen=True, kw_only=True)
class ExitOutput:
    """What the exit of one block says; all (batch,) but `probabilities` (batch, all classes)."""

    probabilities: Tensor
    confidence: Tensor
    label: Tensor
    hardness: Tensor  # probability that the input needs the next block


def exit_output(
    network: Network, index: int, readout: Tensor, features: Tensor, before: Tensor | None
) -> ExitOutput:
    """Combine what block `index` sees with what the blocks before it said.

    `readout` (batch, classes of the block) and `features` (batch, features) are
    what integrators hold of the timesteps run; `before` (batch, all classes) are the
    probabilities of the verdict one block earlier, None at the first. How they
    are combined is `exit_combination` of the network's config (`combined`).
    """
    head = network.block(index).head
    own = class_probabilities(readout, loss=network.config.loss)
    probabilities = combined(
        network.config.exit_combination,
        own,
        before,
        known=head.classes,
        classes=network.task.classes,
        visited=index + 1,
    )
    confidence, label = probabilities.max(dim=1)
    hardness = _hardness(network, index, probabilities, features)
    return ExitOutput(
        probabilities=probabilities, confidence=confidence, label=label, hardness=hardness
    )


def class_probabilities(outputs: Tensor, *, loss: str) -> Tensor:
    """Probabilities of the classes by `outputs` (batch, classes) that were trained by `loss`.

    What squared error draws towards one-hot labels estimates probabilities itself
    (their conditional mean minimises it): the share of a class in all that is
    positive. A softmax of numbers between 0 and 1 would never be sure. It serves
    all other losses, and outputs none of which is positive. The largest output has
    the largest probability.
    """
    soft = torch.softmax(outputs, dim=1)
    if loss != "squared-error":
        return soft
    positive = outputs.clamp(min=0)
    total = positive.sum(dim=1, keepdim=True)
    return torch.where(total > 0, positive / total, soft)


def combined(
    combination: str,
    own: Tensor,
    before: Tensor | None,
    *,
    known: Sequence[int],
    classes: int,
    visited: int,
) -> Tensor:
    """Probabilities (batch, classes) that `visited` blocks agree on.

    `own` (batch, known) is what the last of them says of the labels `known`,
    `before` (batch, classes) what those before it agreed on.

    - `nested`: a block that tells all classes apart overrules. One that knows
      only hard classes shares out the probability that they had together, and
      leaves the others as they were: it is never asked about a class that it
      has not seen.
    - `last`: the deepest block alone; classes that it does not know get zero.
    - `maximum`: all that the most confident block says (the class with the
      largest maximum over blocks wins); of equally confident ones the first.
    - `mean`: over all visited blocks, zero for the classes that one does not know.
    """
    labels = torch.tensor(known, device=own.device)
    if before is None or (combination == "nested" and len(known) == classes):
        return _scattered(own, labels, classes)
    if combination == "nested":
        mass = before[:, labels].sum(dim=1, keepdim=True)
        return before.index_copy(1, labels, own * mass)
    everywhere = _scattered(own, labels, classes)
    if combination == "last":
        return everywhere
    if combination == "maximum":
        is_surer = own.amax(dim=1, keepdim=True) > before.amax(dim=1, keepdim=True)
        return torch.where(is_surer, everywhere, before)
    return before + (everywhere - before) / visited


def _scattered(own: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Probabilities of some labels among all: (batch, classes)."""
    return own.new_zeros(len(own), classes).index_copy(1, labels, own)


def _hardness(network: Network, index: int, probabilities: Tensor, features: Tensor) -> Tensor:
    head, kind = network.block(index).head, network.config.detector
    if kind == "none" or not head.hard:
        return torch.zeros_like(probabilities[:, 0])
    if kind == "mass":
        return probabilities[:, list(head.hard)].sum(dim=1)
    if kind == "predicted":
        is_hard = torch.zeros_like(probabilities[0])
        is_hard[list(head.hard)] = 1
        return is_hard[probabilities.argmax(dim=1)]
    if head.detector is None:  # every class of the block is hard
        return torch.ones_like(probabilities[:, 0])
    weight = head.detector.connections.weight
    logits = head.detector.connections.apply_weight(features, weight) + head.detector.bias
    return torch.softmax(logits, dim=1)[:, 1]

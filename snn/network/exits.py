"""Output of the exits of a network: class probabilities, combined over the blocks run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.network import Network


@dataclass(frozen=True, kw_only=True)
class ExitOutput:
    """Output of the exit of one block; (batch,) each, `probabilities` (batch, all classes)."""

    probabilities: Tensor
    confidence: Tensor
    label: Tensor
    p_hard: Tensor  # probability of a hard class, which needs the next block


def exit_output(
    network: Network, index: int, readout: Tensor, features: Tensor, before: Tensor | None
) -> ExitOutput:
    """Return the exit output after block `index`, combined with that of earlier blocks.

    `readout` (batch, classes of the block) and `features` (batch, features) are integrated
    over the timesteps run; `before` (batch, all classes) are the probabilities of the
    previous exit output, None at the first block. The combination is the config's
    `exit_combination`, see `combined`.
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
    return ExitOutput(
        probabilities=probabilities,
        confidence=confidence,
        label=label,
        p_hard=_p_hard(network, index, probabilities, features),
    )


def class_probabilities(outputs: Tensor, *, loss: str) -> Tensor:
    """Return class probabilities for `outputs` (batch, classes) of a readout trained by `loss`.

    Softmax, except for squared error with a positive output. Outputs trained by squared
    error towards one-hot labels estimate probabilities themselves (the conditional mean
    minimises it), so the positive outputs are normalised to sum 1; a softmax of numbers
    between 0 and 1 would never be confident. The largest output always has the largest
    probability.
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
    """Return the combined probabilities (batch, classes) of the `visited` blocks.

    `own` (batch, known) are the probabilities of the last block for the labels `known`,
    `before` (batch, classes) the combined probabilities of the earlier blocks.

    - `nested`: a block trained on all classes replaces the earlier probabilities. A block
      trained on the hard classes only redistributes their summed probability among them;
      the other classes keep theirs, because the block has never seen them.
    - `last`: the deepest block alone; classes that it was not trained on get zero.
    - `maximum`: the probabilities of the most confident block; of equal ones the first.
    - `mean`: over all visited blocks, zero for classes that a block was not trained on.
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
        is_above = own.amax(dim=1, keepdim=True) > before.amax(dim=1, keepdim=True)
        return torch.where(is_above, everywhere, before)
    return before + (everywhere - before) / visited


def _scattered(own: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return probabilities of some labels as (batch, classes), zero elsewhere."""
    return own.new_zeros(len(own), classes).index_copy(1, labels, own)


def _p_hard(network: Network, index: int, probabilities: Tensor, features: Tensor) -> Tensor:
    """Return the probability of a hard class by the config's `detector`, (batch,)."""
    head, kind = network.block(index).head, network.config.detector
    if kind == "none" or not head.hard:
        return torch.zeros_like(probabilities[:, 0])
    if kind == "mass":
        return probabilities[:, list(head.hard)].sum(dim=1)
    if kind == "predicted":
        is_hard = torch.zeros_like(probabilities[0])
        is_hard[list(head.hard)] = 1
        return is_hard[probabilities.argmax(dim=1)]
    if head.detector is None:  # all classes of the block are hard
        return torch.ones_like(probabilities[:, 0])
    weight = head.detector.connections.weight
    logits = head.detector.connections.apply_weight(features, weight) + head.detector.bias
    return torch.softmax(logits, dim=1)[:, 1]

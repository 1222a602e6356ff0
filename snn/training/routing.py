"""Class routing after a trained block: hard classes, and detectors of their inputs.

Routing never changes a block: the same block may be followed by deeper blocks or by none,
with any class rule and any detector (BlocTrain, Srinivasan & Roy 2021).
"""

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.blocks import Block, builder_of, fold_for_inference
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.network.seeding import generator
from snn.rewiring import make_rewirer
from snn.settings.config import RunConfig
from snn.training.examples import Examples
from snn.training.optimizers import adam

DETECTOR_STEPS = 200
DETECTOR_LEARNING_RATE = 0.05


def route(
    done: Network,
    folded: Sequence[Block],
    confusions: Sequence[Tensor],
    examples: Callable[[], Examples],
    *,
    present: Collection[int],
    device: str,
) -> None:
    """Set the hard classes of `folded` blocks, which follow `done`, and fit their detectors.

    `confusions` has a matrix per block, (classes, classes) of the block: validation images
    by label and decision. `examples` returns the training images of the stage; it is called
    only to fit a detector. `present` are the labels with training images: no other class
    can be hard, because the next block could not learn it. After the last block no class is
    hard, because no block follows.
    """
    config, first = done.config, len(done.blocks)
    for offset, (block, confusion) in enumerate(zip(folded, confusions, strict=True)):
        is_last = first + offset + 1 == config.exits
        classes = block.head.classes
        block.head.hard = () if is_last else hard_classes(config, classes, confusion, present)
    needing = [block for block in folded if _needs_detector(block, present)]
    if config.detector == "head" and needing:
        _fit_detectors(done, folded, needing, examples(), device=device)


def hard_classes(
    config: RunConfig, classes: Sequence[int], confusion: Tensor, present: Collection[int]
) -> tuple[int, ...]:
    """Return the classes that `class_rule` calls hard, of those that are `present`.

    `confusion` (classes, classes) counts validation images by label and decision. The score
    of a class, by `class_score`, is the share of correct images among those with its label
    (recall) or among those classified as it (precision); 0 without such images, because
    nothing shows that the class is easy. Computed in fractions: a class whose score equals
    a decimal threshold, or the mean, is easy. The worst share is rounded half up; of equal
    scores the first classes are the worst.
    """
    right = confusion.diagonal().tolist()
    counts = confusion.sum(dim=1 if config.class_score == "recall" else 0).tolist()
    scores = {
        label: Fraction(correct, max(count, 1))
        for label, correct, count in zip(classes, right, counts, strict=True)
        if label in present
    }
    if config.class_rule == "worst-fraction":
        count = int(_exact(config.hard_fraction) * len(scores) + Fraction(1, 2))
        worst = set(sorted(scores, key=lambda label: scores[label])[:count])
        return tuple(label for label in scores if label in worst)
    if config.class_rule == "mean":
        limit = sum(scores.values(), Fraction(0)) / len(scores)
    else:
        limit = _exact(config.class_threshold)
    return tuple(label for label, score in scores.items() if score < limit)


def _exact(value: float) -> Fraction:
    """Return the decimal that was written instead of the nearest binary number."""
    return Fraction(str(value))


def _needs_detector(block: Block, present: Collection[int]) -> bool:
    """Return whether some of the present classes of the block are hard, and some are not."""
    return 0 < len(block.head.hard) < len(set(block.head.classes) & set(present))


def _fit_detectors(
    done: Network,
    folded: Sequence[Block],
    needing: Sequence[Block],
    examples: Examples,
    *,
    device: str,
) -> None:
    config, first = done.config, len(done.blocks)
    runner = Network(config, done.task)
    runner.blocks.extend([*list(done.blocks)[: examples.frozen], *folded])
    runner.eval()
    for offset, block in enumerate(folded):
        if block in needing:
            draws = generator(config.seed, "detector", first, device)
            features, labels = _features(runner, examples, draws, offset)
            hard = [label in block.head.hard for label in block.head.classes]
            is_hard = torch.tensor(hard, device=labels.device)[labels]
            fit_detector(config, first + offset, block, features, is_hard)


@torch.no_grad()
def _features(
    runner: Network, examples: Examples, draws: torch.Generator, offset: int
) -> tuple[Tensor, Tensor]:
    """Return the readout inputs of a live block, integrated over time, and the labels."""
    features, labels = [], []
    for batch in examples.in_order(draws):
        outputs = runner.run(
            batch.drive, ForwardContext(), timesteps=batch.timesteps, frozen=batch.frozen
        )
        features.append(integrated(outputs.features[offset], leak=runner.config.readout_leak))
        labels.append(batch.labels)
    return torch.cat(features), torch.cat(labels)


def fit_detector(
    config: RunConfig, index: int, block: Block, features: Tensor, is_hard: Tensor
) -> None:
    """Fit a hard-class detector for a folded block, with everything else frozen.

    Two integrators, easy and hard, read the input of the class readout. `features` (images,
    features) are its means over time; `is_hard` (images,) marks images of hard classes. Both
    sides have the same total weight. Sparse runs rewire the detector to the same target.
    Reconstructed from the description in the BlocTrain paper.
    """
    detector = block.head.add_detector(
        builder_of(config, block=index, is_folded=True, purpose="detector weights")
    )
    detector.to(features.device)
    # Adam trains every detector; the negative index separates its walk from that of a block
    by_adam = config.replace(optimizer="adam")
    rewirer = make_rewirer([detector.connections], by_adam, index=-1 - index)
    share = is_hard.double().mean()
    weight = torch.stack([0.5 / (1 - share), 0.5 / share]).to(features)
    optimizer = adam(detector.parameters(), learning_rate=DETECTOR_LEARNING_RATE)
    targets = is_hard.long()
    conn = detector.connections
    for step in range(1, DETECTOR_STEPS + 1):
        logits = conn.apply_weight(features, conn.effective_weight())
        loss = F.cross_entropy(logits + detector.bias, targets, weight=weight)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if rewirer is not None:
            rewirer.before_step(step, learning_rate=DETECTOR_LEARNING_RATE)
        optimizer.step()
        if rewirer is not None:
            rewirer.after_step(step, steps=DETECTOR_STEPS, learning_rate=DETECTOR_LEARNING_RATE)
    block.head.detector = fold_for_inference(config, index, block).head.detector
    block.requires_grad_(False)

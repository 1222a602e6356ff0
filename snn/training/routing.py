"""What is decided behind a trained block: which classes are hard, and what tells their inputs.

Nothing here changes the block: the same block may be followed by deeper ones or
by none, under any class threshold, with any detector.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snn.network.blocks import Block, generator
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.readout import integrated
from snn.training.class_rule import hard_classes
from snn.training.detector import fit_detector
from snn.training.examples import Examples


def route(
    done: Network,
    folded: Sequence[Block],
    confusions: Sequence[Tensor],
    examples: Callable[[], Examples],
    *,
    device: str,
) -> None:
    """Mark the hard classes of `folded` blocks that follow `done`, and fit their detectors.

    `confusions` has a matrix per block, (classes, classes) of the block: validation
    images by label and by what was decided while it trained. `examples` gives the
    training images of the stage, asked for only where a detector has to be fitted.
    Behind the last block of all nothing is hard, because nothing comes after it.
    """
    config, first = done.config, len(done.blocks)
    for offset, (block, confusion) in enumerate(zip(folded, confusions, strict=True)):
        is_last = first + offset + 1 == config.exits
        block.head.hard = () if is_last else hard_classes(config, block.head.classes, confusion)
    if config.detector == "head" and any(_needs_detector(block) for block in folded):
        _fit_detectors(done, folded, examples(), device=device)


def _needs_detector(block: Block) -> bool:
    """Whether some classes are hard behind the block, and not all."""
    return 0 < len(block.head.hard) < len(block.head.classes)


def _fit_detectors(
    done: Network, folded: Sequence[Block], examples: Examples, *, device: str
) -> None:
    config, first = done.config, len(done.blocks)
    runner = Network(config, done.task)
    runner.blocks.extend([*list(done.blocks)[: examples.frozen], *folded])
    runner.eval()
    for offset, block in enumerate(folded):
        if _needs_detector(block):
            draws = generator(config.seed, "detector", first, device)
            rates, labels = _features(runner, examples, draws, offset)
            hard = [label in block.head.hard for label in block.head.classes]
            is_hard = torch.tensor(hard, device=labels.device)[labels]
            fit_detector(config, first + offset, block, rates, is_hard)


@torch.no_grad()
def _features(
    runner: Network, examples: Examples, draws: torch.Generator, offset: int
) -> tuple[Tensor, Tensor]:
    """Spikes that the head of a live block reads, integrated over time, and the labels."""
    rates, labels = [], []
    for batch in examples.in_order(draws):
        outputs = runner.run(
            batch.drive, ForwardContext(), timesteps=batch.timesteps, frozen=batch.frozen
        )
        seen = integrated(outputs.features[offset], leak=runner.config.readout_leak)
        rates.append(seen)
        labels.append(batch.labels)
    return torch.cat(rates), torch.cat(labels)

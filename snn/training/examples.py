"""What a stage of training learns from: images, or the spikes that earlier blocks make of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.data import encoding
from snn.data.dataset import Split, augment
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.trained import BATCH
from snn.rules import Batch
from snn.settings.config import RunConfig

BORDER_BYTES = 256 * 2**20  # spikes of the frozen blocks are kept up to this size


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Labelled inputs of a stage.

    `border` holds, for every image, the counts of spikes that enter the stage:
    uint8 (time, images, ...), to be divided by `grain`. Without it the frozen
    blocks run anew for every batch.
    """

    config: RunConfig
    split: Split  # for its mean and standard deviation
    images: Tensor  # uint8 (images, channels, height, width)
    labels: Tensor  # (images,), positions in the stage's classes
    border: Tensor | None
    grain: int
    frozen: int  # blocks to run before the stage's own

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, draws: torch.Generator, *, augmentation: str = "none") -> Batch:
        """The examples at `index` (batch,), on the device."""
        if self.border is not None:
            drive = self.border[:, index].to(torch.float32) / self.grain
        else:
            images = augment(self.images[index], augmentation, draws)
            drive = drive_of(images, self.split, self.config, draws)
        return Batch(
            drive=drive,
            labels=self.labels[index],
            frozen=self.frozen,
            timesteps=self.config.timesteps,
            loss=self.config.loss,
        )

    def in_order(self, draws: torch.Generator) -> Iterator[Batch]:
        """All examples as they are, for validation."""
        everything = torch.arange(len(self), device=self.labels.device)
        for index in everything.split(BATCH):
            yield self.batch(index, draws)


def drive_of(
    images: Tensor, split: Split, config: RunConfig, draws: torch.Generator | None
) -> Tensor:
    """The images as the config encodes them: (time or 1, batch, channels, height, width)."""
    if config.encoding == "direct":
        return encoding.direct(images, split.mean, split.std)
    assert draws is not None
    return encoding.poisson(images, split.mean, timesteps=config.timesteps, generator=draws)


def examples_behind(
    done: Network, split: Split, classes: Sequence[int]
) -> tuple[Examples, Examples]:
    """Training and validation examples of the classes, for a stage behind the blocks of `done`."""
    keeps = len(done.blocks) > 0 and _border_fits(done, split)
    return (
        _examples(done, split, split.train_images, split.train_labels, classes, keeps),
        _examples(done, split, split.validation_images, split.validation_labels, classes, keeps),
    )


def _border_fits(done: Network, split: Split) -> bool:
    """Whether border spikes are the same in every epoch, and small enough to be kept."""
    config = done.config
    if config.augmentation != "none" or config.encoding != "direct":
        return False
    signal = done.block(len(done.blocks) - 1).signal
    per_image = config.timesteps * math.prod(signal.shape)
    return per_image * len(split.train_images) <= BORDER_BYTES


def _examples(
    done: Network,
    split: Split,
    images: Tensor,
    labels: Tensor,
    classes: Sequence[int],
    keeps_border: bool,
) -> Examples:
    table = torch.full((split.classes,), -1, device=labels.device)
    table[list(classes)] = torch.arange(len(classes), device=labels.device)
    positions = table[labels]
    chosen = (positions >= 0).nonzero().squeeze(1)
    images, positions = images[chosen], positions[chosen]
    blocks = len(done.blocks)
    return Examples(
        config=done.config,
        split=split,
        images=images,
        labels=positions,
        border=_border(done, split, images) if keeps_border else None,
        grain=done.block(blocks - 1).signal.grain if blocks else 1,
        frozen=0 if keeps_border else blocks,
    )


@torch.no_grad()
def _border(done: Network, split: Split, images: Tensor) -> Tensor:
    """Counts of the spikes that leave the last block of `done`: uint8 (time, images, ...)."""
    done.eval()
    config, blocks = done.config, len(done.blocks)
    grain = done.block(blocks - 1).signal.grain
    parts = []
    for some in images.split(BATCH):
        drive = drive_of(some, split, config, None)
        run = done.run(
            drive, ForwardContext(), timesteps=config.timesteps, frozen=blocks, wants=("border",)
        )
        parts.append((torch.cat(run.border) * grain).round().to(torch.uint8))
    return torch.cat(parts, dim=1)

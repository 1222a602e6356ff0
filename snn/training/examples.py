"""Inputs of a training stage: images, or the output spikes of the frozen blocks."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.data.augmentation import augment
from snn.data.dataset import Samples, Split
from snn.data.encoding import NOISY
from snn.data.events.changes import CHANGES
from snn.data.events.clips import Clips
from snn.network.cost import OperationCounter
from snn.network.encoder.decoder import pixels
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.network.trained import BATCH, encode
from snn.rules import Batch
from snn.settings.config import RunConfig

BORDER_BYTES = 256 * 2**20  # largest size of the spikes of the frozen blocks to keep in memory


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Labelled inputs of a stage.

    `border` holds the spike counts that enter the stage, uint8 (time, images, ...), in
    1 / `spikes_per_unit`. Without it the frozen blocks run again for every batch.
    """

    config: RunConfig
    split: Split  # for its mean and standard deviation
    images: Samples
    labels: Tensor  # (images,), positions in the stage's classes
    border: Tensor | None
    spikes_per_unit: int
    frozen: int  # frozen blocks to run for each batch
    border_ops: float = 0.0  # operations of the frozen blocks that made `border`

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, draws: torch.Generator, *, augmentation: str = "none") -> Batch:
        """Return the examples at `index` (batch,)."""
        images: Tensor | None = None
        if self.border is not None:
            drive = self.border[:, index]
            if self.config.time_rule != "bptt":  # which runs chunk by chunk
                drive = drive.to(torch.float32) / self.spikes_per_unit
        else:
            images = augment(self._chosen(index, augmentation, draws), augmentation, draws)
            drive = drive_of(images, self.split, self.config, draws)
        is_target = self.config.decoder_target == "image"
        return Batch(
            drive=drive,
            labels=self.labels[index],
            frozen=self.frozen,
            timesteps=self.config.timesteps,
            loss=self.config.loss,
            pixels=pixels(self.images[index] if images is None else images) if is_target else None,
        )

    def _chosen(self, index: Tensor, augmentation: str, draws: torch.Generator) -> Tensor:
        if isinstance(self.images, Clips) and augmentation in CHANGES:
            return self.images.changed(index, augmentation, draws)
        return self.images[index]

    def in_order(self, draws: torch.Generator) -> Iterator[Batch]:
        """Yield all examples without augmentation, for validation."""
        everything = torch.arange(len(self), device=self.labels.device)
        for index in everything.split(BATCH):
            yield self.batch(index, draws)


def drive_of(
    images: Tensor, split: Split, config: RunConfig, draws: torch.Generator | None
) -> Tensor:
    """Return the images of a split as the config encodes them, see `trained.encode`."""
    return encode(images, config, mean=split.mean, std=split.std, draws=draws)


def examples_after(
    done: Network, split: Split, classes: Sequence[int]
) -> tuple[Examples, Examples]:
    """Return training and validation examples of the classes for a stage after `done`."""
    keeps = len(done.blocks) > 0 and _border_fits(done, split)
    return (
        _examples(done, split, split.train_images, split.train_labels, classes, keeps),
        _examples(done, split, split.validation_images, split.validation_labels, classes, keeps),
    )


def _border_fits(done: Network, split: Split) -> bool:
    """Return whether border spikes are equal in every epoch and small enough to be kept."""
    config = done.config
    if config.augmentation != "none" or config.encoding in NOISY:
        return False
    if config.time_rule == "conversion":  # the blocks run without time
        return False
    signal = done.block(len(done.blocks) - 1).signal
    per_image = config.timesteps * math.prod(signal.shape)
    return per_image * len(split.train_images) <= BORDER_BYTES


def _examples(
    done: Network,
    split: Split,
    images: Samples,
    labels: Tensor,
    classes: Sequence[int],
    keeps_border: bool,
) -> Examples:
    table = torch.full((split.classes,), -1, device=labels.device)
    table[list(classes)] = torch.arange(len(classes), device=labels.device)
    positions = table[labels]
    chosen = (positions >= 0).nonzero().squeeze(1)
    positions = positions[chosen]
    images = images.subset(chosen) if isinstance(images, Clips) else images[chosen]
    blocks = len(done.blocks)
    border, operations = _border(done, split, images) if keeps_border else (None, 0.0)
    return Examples(
        config=done.config,
        split=split,
        images=images,
        labels=positions,
        border=border,
        spikes_per_unit=done.block(blocks - 1).signal.spikes_per_unit if blocks else 1,
        frozen=0 if keeps_border else blocks,
        border_ops=operations,
    )


@torch.no_grad()
def _border(done: Network, split: Split, images: Samples) -> tuple[Tensor, float]:
    """Return output spike counts of the last block of `done`, uint8 (time, images, ...).

    And the operations that they took, counted on the first images.
    """
    done.eval()
    config, blocks = done.config, len(done.blocks)
    spikes_per_unit = done.block(blocks - 1).signal.spikes_per_unit
    parts, per_image = list[Tensor](), 0.0
    for some in images.split(BATCH):
        drive = drive_of(some, split, config, None)
        counter = OperationCounter()
        context = ForwardContext(observer=None if parts else counter)
        run = done.run(drive, context, timesteps=config.timesteps, frozen=blocks, wants=("border",))
        if not parts:
            per_image = counter.total / max(len(some), 1)
        parts.append((torch.cat(run.border) * spikes_per_unit).round().to(torch.uint8))
    return torch.cat(parts, dim=1), per_image * len(images)

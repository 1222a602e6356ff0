"""Networks: blocks one after another, run over time.

Nothing is kept between batches: potentials, masks and constant currents travel
in a `ForwardContext`, so there is nothing to reset.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snn.network.blocks import Block, SignalSpec
from snn.network.layers import ForwardContext
from snn.network.time_chunk import Outputs, TimeChunk, run_again
from snn.settings.backbones import BACKBONES, DenseUnit, ResidualUnit
from snn.settings.config import RunConfig

PART_BYTES = 32 * 2**20
"""Spikes of the largest layer, one timestep and the images that are taken together, at most."""


CHUNK_BYTES = 16 * 2**20
"""The same over the timesteps that are taken together: more, and memory is waited for; fewer,
and starting operations is."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network is for: the shape of an image and the number of classes."""

    image_shape: tuple[int, int, int]
    classes: int


class Network(nn.Module):
    """Blocks one behind the other."""

    def __init__(self, config: RunConfig, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task
        self.blocks = nn.ModuleList()
        self.memory_mode = config.memory_mode
        self._largest = _largest_layer(config, task)

    def block(self, index: int) -> Block:
        """The block with this index, from 0."""
        block = self.blocks[index]
        assert isinstance(block, Block)
        return block

    @property
    def chunk(self) -> int:
        """Timesteps that run through all layers together.

        On a processor as many as stay in its cache, which follows from the
        config alone, so that it gives the same arithmetic on every machine and
        in every part of a network that is run by itself. On a GPU all of them:
        there each operation has to be started, and memory is fast.
        """
        if self.config.feedback != "none":
            return 1  # what comes back has to have left
        steps = self.config.timesteps
        needs_all = self.config.norm == "batch-over-time" or self.config.time_rule == "spike-bp"
        if needs_all and self.training:
            return steps
        if next(self.parameters()).is_cuda:
            return steps
        images = min(self.config.batch_size, self.micro_batch)
        return max(1, min(steps, CHUNK_BYTES // (4 * images * self._largest)))

    @property
    def micro_batch(self) -> int:
        """Images that go through together in training; follows as `chunk` does."""
        config = self.config
        if config.norm == "batch-over-time":  # whose statistics are those of the batch
            return config.batch_size
        if config.micro_batch:
            return config.micro_batch
        if next(self.parameters()).is_cuda:
            return config.batch_size
        images = max(1, PART_BYTES // (4 * self._largest))
        return math.ceil(config.batch_size / math.ceil(config.batch_size / images))

    def run(
        self,
        drive: Tensor,
        batch: ForwardContext,
        *,
        timesteps: int,
        frozen: int = 0,
        wants: Collection[str] = ("logits", "features"),
    ) -> "Outputs":
        """Run `drive` through all blocks; the first `frozen` ones without a graph or heads.

        `drive` is (time, batch, ...) or, when it is constant, (1, batch, ...).
        `wants` are the fields of Outputs that are filled. With a graph and memory
        mode `checkpointed`, only states are kept at first and the timesteps are run
        again, a stretch at a time, when gradients have come that far back.
        """
        batch.is_packed = self.memory_mode == "packed" and torch.is_grad_enabled()
        batch.spike = 1 / (1 - self.config.dropout) if self.training else 1.0
        # a block that is trained by itself gets what the one before sends at inference
        is_alone = len(self.blocks) - frozen == 1
        batch.border_spike = 1.0 if is_alone or frozen else batch.spike
        span = TimeChunk(
            [self.block(index) for index in range(len(self.blocks))],
            batch,
            chunk=self.chunk,
            frozen=frozen,
            wants=frozenset(wants),
        )
        if self.memory_mode == "checkpointed" and torch.is_grad_enabled():
            stretch = math.ceil(math.sqrt(timesteps / 2))
            starts = range(0, timesteps, stretch)
            spans = [(start, min(stretch, timesteps - start)) for start in starts]
            outputs = Outputs.joined([run_again(span, drive, start=s, steps=n) for s, n in spans])
        else:
            outputs = span.run(drive, start=0, steps=timesteps)
        live = range(frozen, len(self.blocks))
        means = [
            self.block(index).head.mean(total, timesteps, batch)
            for index, total in zip(live, outputs.sums, strict=False)
        ]
        return replace(outputs, means=means)


def _largest_layer(config: RunConfig, task: Task) -> int:
    """Neurons of the largest layer of the whole backbone."""
    side, largest = task.image_shape[1], 1
    for unit in BACKBONES[config.backbone].units:
        if isinstance(unit, DenseUnit):
            largest = max(largest, unit.neurons * config.width)
            continue
        largest = max(largest, unit.channels * config.width * side * side)
        if isinstance(unit, ResidualUnit):
            side = math.ceil(side / unit.stride)
        elif unit.pool:
            side = math.ceil(side / 2)
    return largest


def input_signal(config: RunConfig, task: Task) -> SignalSpec:
    """What the first block gets."""
    return SignalSpec(shape=task.image_shape, is_analog=config.encoding == "direct", origin="image")

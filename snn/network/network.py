"""Networks: blocks in sequence, run over time.

No state is kept between batches: potentials, masks and constant currents are fields of a
`ForwardContext`, so nothing has to be reset.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snn.data.encoding import ANALOG, CONSTANT
from snn.network.blocks import Block, connections_of
from snn.network.connections import Connections
from snn.network.layers import ForwardContext
from snn.network.time_chunk import Outputs, TimeChunk, run_checkpointed
from snn.network.units import SignalSpec
from snn.settings import chunks
from snn.settings.architecture import largest_layer
from snn.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Task:
    """Shape of an image, number of classes, and measured deviation of the network's input."""

    image_shape: tuple[int, int, int]
    classes: int
    deviation: float | None = None  # None: as the encoding says


class Network(nn.Module):
    """Blocks in sequence."""

    def __init__(self, config: RunConfig, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task
        self.blocks = nn.ModuleList()
        self.memory_mode = config.memory_mode
        self._largest = largest_layer(config.units, task.image_shape, config.width)

    def block(self, index: int) -> Block:
        """Return the block with this index, from 0."""
        block = self.blocks[index]
        assert isinstance(block, Block)
        return block

    def live_connections(self, frozen: int) -> list[Connections]:
        """Return the connections of all blocks after the first `frozen` ones."""
        return [conn for block in list(self.blocks)[frozen:] for conn in connections_of(block)]

    @property
    def chunk_steps(self) -> int:
        """Timesteps that run through all layers together.

        On a CPU as many as fit its cache. The number follows from the config alone, so that
        results do not depend on the machine or on which part of a network runs. On a GPU
        all timesteps: starting an operation costs more there than memory.
        """
        if self.config.feedback != "none":
            return 1  # the output of a timestep is an input of the next one
        steps = self.config.timesteps
        needs_all = self.config.norm == "batch-over-time" or self.config.time_rule == "spike-bp"
        if needs_all and self.training:
            return steps
        if next(self.parameters()).is_cuda:
            return steps
        return chunks.chunk_steps(self.config, self._largest, images=self.micro_batch)

    @property
    def micro_batch(self) -> int:
        """Images that run together in training; depends on the same values as `chunk_steps`."""
        config = self.config
        chosen = config.micro_batch or config.is_whole
        if next(self.parameters()).is_cuda and not chosen:
            return config.batch_size
        return chunks.micro_batch(config, self._largest)

    def is_constant(self, drive: Tensor) -> bool:
        """Return whether `drive` (1, batch, ...) is the input of every timestep.

        Only an image's current is: a single timestep of another input is no constant.
        """
        return self.block(0).source.is_constant and drive.shape[0] == 1

    def run(
        self,
        drive: Tensor,
        batch: ForwardContext,
        *,
        timesteps: int,
        frozen: int = 0,
        wants: Collection[str] = ("logits", "features"),
    ) -> Outputs:
        """Run `drive` through all blocks; the first `frozen` ones without a graph or heads.

        `drive` is (time, batch, ...), or (1, batch, ...) if it is constant. `wants` are the
        fields of Outputs to fill. With a graph and memory mode `checkpointed`, only states are
        stored, and the timesteps run again, segment by segment, in the backward pass.
        """
        batch.is_constant = self.is_constant(drive)
        batch.is_packed = self.memory_mode == "packed" and torch.is_grad_enabled()
        if batch.dynamics is None:
            batch.gain = 1 / self.config.threshold_scale
        batch.spike = 1 / (1 - self.config.dropout) if self.training else 1.0
        # a block that is trained alone receives the spikes of inference
        is_alone = len(self.blocks) - frozen == 1
        batch.border_spike = 1.0 if is_alone or frozen else batch.spike
        chunk = TimeChunk(
            [self.block(index) for index in range(len(self.blocks))],
            batch,
            chunk_steps=self.chunk_steps,
            frozen=frozen,
            wants=frozenset(wants),
        )
        if self.memory_mode == "checkpointed" and torch.is_grad_enabled():
            outputs = run_checkpointed(chunk, drive, timesteps=timesteps)
        else:
            outputs = chunk.run(drive, start=0, steps=timesteps)
        live = range(frozen, len(self.blocks))
        means = [
            self.block(index).head.mean(total, timesteps, batch)
            for index, total in zip(live, outputs.sums, strict=False)
        ]
        return replace(outputs, means=means)


def input_signal(config: RunConfig, task: Task) -> SignalSpec:
    """Return the form of the input of the first block."""
    is_analog = config.encoding in ANALOG
    return SignalSpec(
        shape=(task.image_shape[0] * config.encoded_channels, *task.image_shape[1:]),
        is_analog=is_analog,
        is_constant=config.encoding in CONSTANT,
        deviation=task.deviation or (1.0 if is_analog else None),
        kind="image",
    )

"""Runs over time: all layers in chunks of timesteps, and checkpointed segments."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from snn.network.blocks import Block
from snn.network.layers import ForwardContext, Layer


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Result of a run, one tensor per live block; empty lists where nothing was asked for."""

    logits: list[Tensor] = field(default_factory=list)  # each (time, batch, classes of the block)
    features: list[Tensor] = field(default_factory=list)  # each (time, batch, readout inputs)
    border: list[Tensor] = field(default_factory=list)  # output spikes of the last block, by chunk
    means: list[Tensor] = field(default_factory=list)  # each (batch, classes): mean over time
    sums: list[Tensor] = field(default_factory=list)  # see Head.summed, (1, batch, ...)

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> "Outputs":
        """Join parts that follow one another in time."""
        if len(parts) == 1:
            return parts[0]
        logits, features = (
            [torch.cat(chunks) for chunks in zip(*(getattr(p, name) for p in parts), strict=True)]
            for name in ("logits", "features")
        )
        return cls(
            logits=logits,
            features=features,
            border=[chunk for part in parts for chunk in part.border],
            sums=[sum(terms[1:], terms[0]) for terms in zip(*(p.sums for p in parts), strict=True)],
        )


@dataclass(frozen=True)
class TimeChunk:
    """Runs the blocks of a network, `chunk_steps` timesteps at a time through all layers."""

    blocks: Sequence[Block]
    batch: ForwardContext
    chunk_steps: int
    frozen: int  # first blocks, run without a graph
    wants: frozenset[str]

    def run(self, drive: Tensor, *, start: int, steps: int) -> Outputs:
        """Run timesteps `start` to `start + steps` of a drive (time, ...) or (1, ...)."""
        parts = [
            self.run_live(self.run_frozen(x, count), count)
            for x, count in self.chunks(drive, start=start, steps=steps)
        ]
        return Outputs.joined(parts)

    def chunks(self, drive: Tensor, *, start: int, steps: int) -> Iterator[tuple[Tensor, int]]:
        """Yield each chunk of the drive with its number of timesteps.

        A drive of bytes holds the spike counts that enter the first block: as real numbers the
        whole batch would take four times the memory.
        """
        for first in range(start, start + steps, self.chunk_steps):
            count = min(self.chunk_steps, start + steps - first)
            x = drive if self.batch.is_constant else drive[first : first + count]
            if x.dtype == torch.uint8:
                x = x.to(torch.float32) / self.blocks[0].source.spikes_per_unit
            yield x, count

    @torch.no_grad()
    def run_frozen(self, x: Tensor, steps: int) -> Tensor:
        """Return the output of the frozen blocks."""
        for block in self.blocks[: self.frozen]:
            x = block(x, steps, self.batch)
        return x

    def run_live(self, x: Tensor, steps: int) -> Outputs:
        """Run one chunk through the live blocks."""
        out = Outputs()
        for block in self.blocks[self.frozen :]:
            x = block(x, steps, self.batch)
            if "means" in self.wants:
                out.sums.append(block.head.summed(x, steps, self.batch))
            elif self.wants & {"logits", "features"}:
                readout, read = block.head(x, steps, self.batch)
                out.logits.append(readout)
                if "features" in self.wants:
                    out.features.append(read)
        if "border" in self.wants:
            out.border.append(x)
        return out

    def live_owners(self) -> list[nn.Module]:
        """Return the parts of the live blocks that have a state."""
        blocks, states = self.blocks[self.frozen :], self.batch.states
        return [part for block in blocks for part in block.modules() if part in states]


def run_checkpointed(chunk: TimeChunk, drive: Tensor, *, timesteps: int) -> Outputs:
    """Run all timesteps with activation checkpointing, in segments of about sqrt(time / 2).

    Effective weights must be leaves.
    """
    length = math.ceil(math.sqrt(timesteps / 2))
    segments = [
        _run_segment(chunk, drive, start=start, steps=min(length, timesteps - start))
        for start in range(0, timesteps, length)
    ]
    return Outputs.joined(segments)


def _run_segment(chunk: TimeChunk, drive: Tensor, *, start: int, steps: int) -> Outputs:
    """Run a segment without a graph; it is run again in the backward pass.

    Only the input of the live blocks and the states of their neurons are stored.
    """
    batch = chunk.batch
    inputs = [
        chunk.run_frozen(x, count) for x, count in chunk.chunks(drive, start=start, steps=steps)
    ]
    x = drive if batch.is_constant and chunk.frozen == 0 else torch.cat(inputs)
    owners = chunk.live_owners()
    states = [batch.states[owner] for owner in owners]
    segment = _Segment(chunk, owners, list(batch.returning), steps)
    # an input that requires a gradient, so that backward is called also for the first segment
    anchor = torch.zeros((), device=x.device, requires_grad=True)
    returning = list(batch.returning.values())
    results = _CheckpointedSegment.apply(segment, anchor, x, *states, *returning)  # type: ignore[no-untyped-call]
    batch.states.update(zip(segment.left, results[segment.heads :], strict=True))
    batch.returning.update(segment.feedback)
    results = list(results[: segment.heads])
    return Outputs(sums=results) if "means" in chunk.wants else Outputs(logits=results)


class _Segment:
    """Some timesteps as a function from states to readout inputs and new states."""

    def __init__(
        self,
        chunk: TimeChunk,
        owners: Sequence[nn.Module],
        with_feedback: Sequence[Layer],
        steps: int,
    ) -> None:
        self.chunk, self.owners, self.steps = chunk, owners, steps
        self.with_feedback = with_feedback
        self.left: list[nn.Module] = []  # owners of the states that `run` returned
        self.feedback: dict[Layer, Tensor] = {}  # output at the end, fed back in the next segment
        self.heads = 0

    def run(
        self, x: Tensor, states: Sequence[Tensor], returning: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return what the heads receive, and the new states."""
        self.feedback = dict(zip(self.with_feedback, returning, strict=True))
        batch = replace(
            self.chunk.batch,
            is_constant=self.chunk.batch.is_constant and self.chunk.frozen == 0,
            states=dict(zip(self.owners, states, strict=True)),
            constant={},
            returning=self.feedback,
        )
        chunk = replace(self.chunk, batch=batch)
        parts = [
            chunk.run_live(part, count)
            for part, count in chunk.chunks(x, start=0, steps=self.steps)
        ]
        joined = Outputs.joined(parts)
        heads = joined.sums or joined.logits
        self.left, self.heads = list(batch.states), len(heads)
        return (*heads, *batch.states.values())


class _CheckpointedSegment(torch.autograd.Function):
    """Runs a segment without a graph, and again with a graph in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, segment: _Segment, anchor: Tensor, x: Tensor, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.segment = segment
        ctx.save_for_backward(x, *inputs)
        ctx.set_materialize_grads(False)
        owners = len(segment.owners)
        results = segment.run(x, inputs[:owners], inputs[owners:])
        # a state may be a view of potentials, which would stay in memory
        return (*results[: segment.heads], *(state.clone() for state in results[segment.heads :]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *inputs = ctx.saved_tensors
        owners = len(ctx.segment.owners)
        states = [state.detach().requires_grad_() for state in inputs[:owners]]
        with torch.enable_grad():
            results = ctx.segment.run(x, states, inputs[owners:])
        pairs = [
            (result, grad)
            for result, grad in zip(results, grads, strict=True)
            if grad is not None and result.requires_grad
        ]
        torch.autograd.backward([result for result, _ in pairs], [grad for _, grad in pairs])
        no_feedback = [None] * (len(inputs) - owners)
        return None, None, None, *(state.grad for state in states), *no_feedback

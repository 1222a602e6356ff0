"""Stretches of time: running a network over some timesteps, and running them again for backward."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from snn.network.blocks import Block
from snn.network.layers import ForwardContext, Layer


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a run gave, per block that was not frozen; empty where it was not wanted."""

    logits: list[Tensor] = field(default_factory=list)  # each (time, batch, classes of the block)
    features: list[Tensor] = field(default_factory=list)  # each (time, batch, what readouts see)
    border: list[Tensor] = field(default_factory=list)  # spikes leaving the last block, by chunk
    means: list[Tensor] = field(default_factory=list)  # each (batch, classes): mean over time
    sums: list[Tensor] = field(default_factory=list)  # of what makes a mean, (1, batch, ...)

    @classmethod
    def joined(cls, parts: Sequence["Outputs"]) -> "Outputs":
        """One after another in time."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            logits=[torch.cat(chunks) for chunks in zip(*(p.logits for p in parts), strict=True)],
            features=[
                torch.cat(chunks) for chunks in zip(*(p.features for p in parts), strict=True)
            ],
            border=[chunk for part in parts for chunk in part.border],
            sums=[sum(terms[1:], terms[0]) for terms in zip(*(p.sums for p in parts), strict=True)],
        )


@dataclass(frozen=True)
class TimeChunk:
    """How a network runs over timesteps, in chunks that go through all layers together."""

    blocks: Sequence[Block]
    batch: ForwardContext
    chunk: int  # timesteps that run through all layers together
    frozen: int  # blocks that run without a graph
    wants: frozenset[str]

    def run(self, drive: Tensor, *, start: int, steps: int) -> Outputs:
        """Timesteps `start` to `start + steps` of a drive that has all, or one for all."""
        parts = []
        for first in range(start, start + steps, self.chunk):
            count = min(self.chunk, start + steps - first)
            x = drive if drive.shape[0] == 1 else drive[first : first + count]
            parts.append(self.live(self.before(x, count), count))
        return Outputs.joined(parts)

    @torch.no_grad()
    def before(self, x: Tensor, steps: int) -> Tensor:
        """What leaves the frozen blocks."""
        for index in range(self.frozen):
            x = self.blocks[index](x, steps, self.batch)
        return x

    def live(self, x: Tensor, steps: int) -> Outputs:
        """One chunk through the blocks that are not frozen."""
        out = Outputs()
        for index in range(self.frozen, len(self.blocks)):
            x = self.blocks[index](x, steps, self.batch)
            if "means" in self.wants:
                out.sums.append(self.blocks[index].head.summed(x, steps, self.batch))
            elif self.wants & {"logits", "features"}:
                readout, read = self.blocks[index].head(x, steps, self.batch)
                out.logits.append(readout)
                if "features" in self.wants:
                    out.features.append(read)
        if "border" in self.wants:
            out.border.append(x)
        return out


def run_again(span: TimeChunk, drive: Tensor, *, start: int, steps: int) -> Outputs:
    """What the heads get of a stretch, whose graph is made when its gradients come.

    Until then only what enters the stretch is kept: the drive of the live
    blocks and the states of their neurons. Effective weights must be leaves.
    """
    batch, chunk = span.batch, span.chunk
    entering = []
    for first in range(start, start + steps, chunk):
        count = min(chunk, start + steps - first)
        x = drive if drive.shape[0] == 1 else drive[first : first + count]
        entering.append(span.before(x, count))
    x = drive if drive.shape[0] == 1 and span.frozen == 0 else torch.cat(entering)
    owners = [layer for layer in _live_layers(span) if layer in batch.potentials]
    states = [batch.potentials[layer] for layer in owners]
    stretch = _Segment(span, owners, list(batch.returning), steps)
    # something that wants a gradient, so that backward comes by even at rest
    anchor = torch.zeros((), device=x.device, requires_grad=True)
    returning = list(batch.returning.values())
    results = _CheckpointedSegment.apply(stretch, anchor, x, *states, *returning)  # type: ignore[no-untyped-call]
    batch.potentials.update(zip(stretch.left, results[stretch.heads :], strict=True))
    batch.returning.update(stretch.sent)
    results = results[: stretch.heads]
    if "means" in span.wants:
        return Outputs(sums=list(results))
    return Outputs(logits=list(results))


def _live_layers(span: TimeChunk) -> list[Layer]:
    blocks = span.blocks[span.frozen :]
    return [part for block in blocks for part in block.modules() if isinstance(part, Layer)]


class _Segment:
    """Some timesteps as a function from states to readout inputs and new states."""

    def __init__(
        self, span: TimeChunk, owners: Sequence[Layer], awaiting: Sequence[Layer], steps: int
    ) -> None:
        self.span, self.owners, self.awaiting, self.steps = span, owners, awaiting, steps
        self.left: list[Layer] = []
        self.sent: dict[Layer, Tensor] = {}  # feedback that is under way at the end
        self.heads = 0

    def run(
        self, x: Tensor, states: Sequence[Tensor], returning: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        potentials = dict(zip(self.owners, states, strict=True))
        self.sent = dict(zip(self.awaiting, returning, strict=True))
        batch = replace(self.span.batch, potentials=potentials, constant={}, returning=self.sent)
        span = replace(self.span, batch=batch)
        chunk, parts = self.span.chunk, []
        for first in range(0, self.steps, chunk):
            count = min(chunk, self.steps - first)
            part = x if x.shape[0] == 1 else x[first : first + count]
            parts.append(span.live(part, count))
        joined = Outputs.joined(parts)
        shown = joined.sums or joined.logits
        self.left, self.heads = list(batch.potentials), len(shown)
        return (*shown, *batch.potentials.values())


class _CheckpointedSegment(torch.autograd.Function):
    """Runs a stretch without a graph, and again with one when its gradients come."""

    @staticmethod
    def forward(
        ctx: Any, stretch: _Segment, anchor: Tensor, x: Tensor, *entering: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.stretch = stretch
        ctx.save_for_backward(x, *entering)
        ctx.set_materialize_grads(False)
        owners = len(stretch.owners)
        results = stretch.run(x, entering[:owners], entering[owners:])
        # a state may be a view of potentials that need not live on
        return (*results[: stretch.heads], *(state.clone() for state in results[stretch.heads :]))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, *entering = ctx.saved_tensors
        owners = len(ctx.stretch.owners)
        states = [state.detach().requires_grad_() for state in entering[:owners]]
        with torch.enable_grad():
            results = ctx.stretch.run(x, states, entering[owners:])
        pairs = [
            (result, grad)
            for result, grad in zip(results, grads, strict=True)
            if grad is not None and result.requires_grad
        ]
        torch.autograd.backward([result for result, _ in pairs], [grad for _, grad in pairs])
        nothing = [None] * (3 + len(entering) - owners)
        return *nothing[:3], *(state.grad for state in states), *nothing[3:]

"""Feedback: what a block sends back to its own first layer (OTTT, Xiao et al. 2022).

The block's output, without a gradient, is spread over the first layer's map to
the nearest pixel and joins that layer's current one timestep later, through
connections that begin at zero; at the first timestep nothing comes back. So a
network with feedback runs one timestep at a time.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.layers import Connections, Layer


@dataclass(frozen=True, kw_only=True)
class FeedbackResize:
    """How an output of `shape` arrives at a layer."""

    shape: tuple[int, ...]  # without time and batch
    side: int | None  # of the map that it is spread over; None where all goes to all

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        """Input (1, batch, ...) of the connections that bring back `x`, silent where None.

        `like` is another input of the same timestep.
        """
        if x is None:
            x = like.new_zeros(1, like.shape[1], *self.shape)
        if self.side is None:
            return x.flatten(2)
        maps = x.flatten(0, 1).reshape(x.shape[1], self.shape[0], *(self.shape[1:] or (1, 1)))
        return F.interpolate(maps, size=(self.side, self.side), mode="nearest").unsqueeze(0)


def feed_back(
    layer: Layer, shape: tuple[int, ...], *, grain: int, side: int, draws: torch.Generator
) -> None:
    """Let a block's output of `shape`, `grain` spikes to a value of 1, return to its first layer.

    `side` is that of the layer's map, where it has one.
    """
    forward = layer.sources[0].weight
    if forward.dim() == 4:
        connections = Connections((forward.shape[0], shape[0], 3, 3), grain=grain, generator=draws)
        spread = FeedbackResize(shape=shape, side=side)
    else:
        inputs = torch.Size(shape).numel()
        connections = Connections((forward.shape[0], inputs), grain=grain, generator=draws)
        spread = FeedbackResize(shape=shape, side=None)
    torch.nn.init.zeros_(connections.weight)
    layer.connections.append(connections)
    layer.feedback = spread

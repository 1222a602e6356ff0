"""Feedback from the output of a block to its first layer (OTTT, Xiao et al. 2022).

The output of a block, without a gradient, is resized to the map of the first layer (nearest
pixel) and added to the current of that layer one timestep later, through connections whose
initial weights are zero. The first timestep has no feedback. A network with feedback
therefore runs one timestep at a time.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.connections import Connections
from snn.network.layers import Layer
from snn.network.pooling import Size


@dataclass(frozen=True, kw_only=True)
class FeedbackResize:
    """Resizes an output of `shape` (without time and batch) to a layer's map."""

    shape: tuple[int, ...]
    size: Size | None  # of the map; None for all-to-all connections

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        """Return `x` as input (1, batch, ...) of the feedback connections, zeros for None.

        `like` is another input of the same timestep.
        """
        if x is None:
            x = like.new_zeros(1, like.shape[1], *self.shape)
        if self.size is None:
            return x.flatten(2)
        maps = x.flatten(0, 1).reshape(x.shape[1], self.shape[0], *(self.shape[1:] or (1, 1)))
        return F.interpolate(maps, size=self.size, mode="nearest").unsqueeze(0)


def add_feedback(
    layer: Layer,
    shape: tuple[int, ...],
    *,
    spikes_per_unit: int,
    target: tuple[int, ...],
    draws: torch.Generator,
) -> None:
    """Add feedback connections to `layer`, the first of a block with output of `shape`.

    `spikes_per_unit` spikes make an output of 1; `target` is the shape of the spikes of the layer.
    """
    forward = layer.sources[0].weight
    if forward.dim() == 4:
        connections = Connections(
            (forward.shape[0], shape[0], 3, 3), spikes_per_unit=spikes_per_unit, generator=draws
        )
        resize = FeedbackResize(shape=shape, size=(target[1], target[2]))
    else:
        inputs = torch.Size(shape).numel()
        connections = Connections(
            (forward.shape[0], inputs), spikes_per_unit=spikes_per_unit, generator=draws
        )
        resize = FeedbackResize(shape=shape, size=None)
    torch.nn.init.zeros_(connections.weight)
    layer.connections.append(connections)
    layer.feedback = resize

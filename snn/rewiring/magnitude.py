"""Gradual magnitude pruning (Zhu & Gupta 2017, arXiv 1710.01878).

The smallest weights over all layers are removed and never regrow.
"""

from collections.abc import Sequence

import torch

from snn.network.connections import Connections
from snn.network.parametrizations import MaskParametrization
from snn.rewiring.rewirer import (
    Ramp,
    Rewirer,
    kth_smallest,
    missing_of,
    parametrization_of,
    rewiring,
)
from snn.settings.config import RunConfig


class Magnitude(Rewirer):
    """Weights under masks; the smallest over all layers are masked."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.parametrization = MaskParametrization(conn.weight, has_signs=False)

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is None:
            return
        masks = [parametrization_of(conn, MaskParametrization) for conn in self.connections]
        sizes = [
            conn.weight.abs().masked_fill(~mask.alive, -1.0)
            for conn, mask in zip(self.connections, masks, strict=True)
        ]
        missing = missing_of(sparsity, self.connections)
        threshold = kth_smallest(torch.cat([size.flatten() for size in sizes]), missing)
        for mask, size in zip(masks, sizes, strict=True):
            mask.alive.logical_and_(size > threshold)


@rewiring("magnitude")
def magnitude(connections: Sequence[Connections], config: RunConfig, index: int) -> Magnitude:
    """Return magnitude pruning of a config."""
    return Magnitude(connections, Ramp.of(config))

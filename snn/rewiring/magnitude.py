"""Gradual magnitude pruning (Zhu & Gupta 2017): the smallest weights go and never return."""

from collections.abc import Sequence

import torch

from snn.network.layers import Connections
from snn.network.parametrizations import MaskParametrization
from snn.rewiring.rewirer import Ramp, kth_smallest, mask_gate, missing_of


class Magnitude:
    """Ordinary weights under masks that only lose connections, the smallest over all layers."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.gate = MaskParametrization(conn.weight, has_signs=False)

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is None:
            return
        sizes = [
            conn.weight.abs().masked_fill(~mask_gate(conn).alive, -1.0) for conn in self.connections
        ]
        missing = missing_of(sparsity, self.connections)
        threshold = kth_smallest(torch.cat([size.flatten() for size in sizes]), missing)
        for conn, size in zip(self.connections, sizes, strict=True):
            mask_gate(conn).alive.logical_and_(size > threshold)

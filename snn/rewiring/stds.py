"""STDS (Chen et al. 2022): a soft threshold on every weight.

w = sign(theta) * max(|theta| - D, 0), and every theta gets dL/dw as if there
were no threshold: what is inside it can come out again, with either sign. The
published D rises to a value that is given. Here it is the one that leaves the
asked share of connections missing, so that it is found instead of swept.
"""

from collections.abc import Sequence

import torch

from snn.network.layers import Connections
from snn.network.parametrizations import SoftThresholdParametrization
from snn.rewiring.rewirer import Ramp, kth_smallest, missing_of, soft_gate


class SoftThreshold:
    """A soft threshold D for all connections together that follows the target."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.gate = SoftThresholdParametrization(conn.weight)

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is None:
            return
        sizes = torch.cat([conn.weight.abs().flatten() for conn in self.connections])
        threshold = kth_smallest(sizes, missing_of(sparsity, self.connections)).clamp(min=0)
        for conn in self.connections:
            soft_gate(conn).cut.copy_(threshold)

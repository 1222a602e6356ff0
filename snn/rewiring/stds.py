"""State transition of dendritic spines (STDS, Chen et al. 2022): a soft threshold on weights.

w = sign(theta) * max(|theta| - D, 0), and every theta receives dL/dw as if there were no
threshold: a removed connection can regrow with either sign. The published D rises to a
given value. Here D is the value that leaves the target share of connections missing, so
that it does not have to be searched.
"""

from collections.abc import Sequence

import torch

from snn.network.connections import Connections
from snn.network.parametrizations import SoftThresholdParametrization
from snn.rewiring.rewirer import (
    Ramp,
    Rewirer,
    kth_smallest,
    missing_of,
    parametrization_of,
    rewiring,
)
from snn.settings.config import RunConfig


class SoftThreshold(Rewirer):
    """A soft threshold D, common to all connections, that follows the target sparsity."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.parametrization = SoftThresholdParametrization(conn.weight)

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
            parametrization_of(conn, SoftThresholdParametrization).cut.copy_(threshold)


@rewiring("stds")
def stds(connections: Sequence[Connections], config: RunConfig, index: int) -> SoftThreshold:
    """Return the soft threshold of a config."""
    return SoftThreshold(connections, Ramp.of(config))

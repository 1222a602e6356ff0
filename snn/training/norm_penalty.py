"""A penalty on the norm of each neuron's weights (Lee, Delbruck & Pfeiffer 2016).

    (strength / 2) * sum over neurons of exp(STEEPNESS * (|w|^2 / START - 1))

In the paper START is 1, the expected squared norm of its initial weights; ours begin at 2.
"""

from collections.abc import Sequence

import torch

from snn.network.connections import Connections

STEEPNESS = 10.0
START = 2.0
MOST = 50.0  # of the exponent: where no number of a loss compares any more


@torch.no_grad()
def add_norm_penalty(connections: Sequence[Connections], strength: float) -> None:
    """Add the gradient of the penalty to that of the weights, where they have one."""
    for conn in connections:
        if conn.weight.grad is None:
            continue
        rows = conn.weight.flatten(1)
        excess = rows.square().sum(dim=1, keepdim=True) / START - 1
        factor = strength * STEEPNESS / START * torch.exp((STEEPNESS * excess).clamp(max=MOST))
        conn.weight.grad.add_((factor * rows).view_as(conn.weight))

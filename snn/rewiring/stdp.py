"""Connections removed while plasticity learns, or at its end (`snn.rules.stdp`).

The rule drives each weight to 0 or 1, as a count of how often its input came too late. What
goes to 0 can be removed before it is there:

- `stdp-count`: a weight that has fallen below `LEAST`, the mirror image of the initial 0.8, once
  its map was updated `PATIENCE` times; up to the target.
- `stdp-quantile`: the smallest weights, on the course of sparsity of `Ramp`.
- `stdp-final`: the smallest weights, after the last step.

A map keeps as many connections as it needs to reach its threshold, and one more. The readout is
not touched. Removed connections have weight 0, which the rule never changes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snn.network.connections import Connections
from snn.rewiring.rewirer import Ramp, Rewirer, rewiring
from snn.settings.config import RunConfig

LEAST = 0.2
PATIENCE = 50


class Plastic(Rewirer):
    """Removes the smallest weights of the connections with plasticity."""

    def __init__(self, connections: Sequence[Connections], config: RunConfig) -> None:
        self.connections = [conn for conn in connections if conn.plasticity is not None]
        self.ramp, self.form = Ramp.of(config), config.rewiring
        self.least = math.ceil(config.threshold) + 1

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is None or (self.form == "stdp-final" and step < steps):
            return
        for conn in self.connections:
            removed = self.removed(
                conn, self.ramp.target if self.form == "stdp-count" else sparsity
            )
            conn.weight.masked_fill_(removed, 0.0)

    def removed(self, conn: Connections, sparsity: float) -> Tensor:
        """Return which connections shall be missing at a sparsity, like the weight."""
        weight = conn.weight
        candidates = weight.flatten(1).clone()
        kept = min(self.least, candidates.shape[1])
        # the largest weights of each map stay
        strongest = candidates.argsort(dim=1, descending=True, stable=True)[:, :kept]
        candidates.scatter_(1, strongest, torch.inf)
        if self.form == "stdp-count":
            assert conn.plasticity is not None
            is_early = conn.plasticity.updates.unsqueeze(1) < PATIENCE
            candidates.masked_fill_((candidates >= LEAST) | is_early & (candidates > 0), torch.inf)
        order = candidates.flatten().argsort(stable=True)
        chosen = order[: round(sparsity * weight.numel())]
        mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
        mask[chosen] = True
        return mask.view_as(weight) & candidates.isfinite().view_as(weight)


@rewiring("stdp-count")
@rewiring("stdp-quantile")
@rewiring("stdp-final")
def plastic(connections: Sequence[Connections], config: RunConfig, index: int) -> Plastic:
    """Return the removal of a config."""
    del index
    return Plastic(connections, config)

"""Grad R (Chen et al. 2021): connections that go and return by their own gradient.

A connection has a fixed sign and a strength theta; its weight is sign * theta
where it exists. Every strength receives sign * dL/dw, whether the connection
exists or not (`gates.StrengthGate`), so the optimizer's ordinary step is Grad
R's. What decides who exists differs:

- closed loop (ours): those whose theta exceeds a common threshold, set so that
  the share of missing connections follows the target. It keeps Grad R's
  competition and spares the survivors the drift that shrinks them.
- open loop (as published): theta > 0, with a Laplace prior that pulls every
  theta towards mu = ln(2 - 2p) / alpha. At usual settings mu is so far away
  that alpha alone decides what is reached, not the target p.
"""

import math
from collections.abc import Sequence

import torch

from snn.network.layers import Connections
from snn.rewiring.rewirer import (
    REVIVED,
    Ramp,
    kth_smallest,
    missing_of,
    step_size,
    strength_gate,
)


@torch.no_grad()
def cut_at(connections: Sequence[Connections], sparsity: float) -> None:
    """Leave round(sparsity * all) connections missing, the weakest over all layers.

    Where fewer than the rest have a strength above zero, the strongest of the
    others get one just above it. Nothing leaves the device.
    """
    strengths = torch.cat([conn.weight.flatten() for conn in connections])
    threshold = kth_smallest(strengths, missing_of(sparsity, connections))
    for conn in connections:
        # holds for none where the threshold is not below zero
        too_low = (conn.weight > threshold) & (conn.weight <= 0)
        conn.weight.masked_fill_(too_low, REVIVED)
        strength_gate(conn).cut.copy_(threshold.clamp(min=0))


class ClosedLoop:
    """A threshold on the strengths of all connections together that follows the target."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.hold_strengths()

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is not None:
            cut_at(self.connections, sparsity)


class OpenLoop:
    """Grad R's published prior, outside the optimizer's normalisation.

    theta <- theta - step * (gradient's part) - step * alpha * sign(theta - mu),
    with Adam's bias-corrected step eta / (1 - beta1^k) where Adam is used; both
    parts at the theta from before the step, as published and as released. The
    optimizer's part does not depend on theta, so the prior's may come first.
    """

    def __init__(
        self, connections: Sequence[Connections], *, target: float, strength: float, beta: float
    ) -> None:
        self.connections, self.strength, self.beta = connections, strength, beta
        self.location = math.log(2 - 2 * target) / strength if strength > 0 else -math.inf
        for conn in connections:
            conn.hold_strengths()

    @torch.no_grad()
    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""
        size = step_size(learning_rate, self.beta, step) * self.strength
        for conn in self.connections:
            conn.weight.sub_(size * torch.sign(conn.weight - self.location))

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""

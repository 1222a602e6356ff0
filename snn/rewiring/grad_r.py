"""Gradient rewiring (Grad R, Chen et al. 2021, arXiv 2105.04916).

A connection has a fixed sign and a strength theta; its weight is sign * theta while it
exists. Every strength receives sign * dL/dw, also that of a removed connection
(`StrengthParametrization`), so an ordinary optimizer step is Grad R's step. Two rules
decide which connections exist:

- closed loop (ours): theta above a common threshold, which is set so that the share of
  missing connections follows the target. Connections compete as in Grad R, without the
  prior's drift that shrinks the remaining ones.
- open loop (as published): theta > 0, with a Laplace prior that pulls every theta towards
  mu = ln(2 - 2p) / alpha. At usual settings mu is far out of reach, and alpha determines
  the sparsity instead of the target p.
"""

import math
from collections.abc import Sequence

import torch

from snn.network.connections import Connections
from snn.network.parametrizations import StrengthParametrization
from snn.rewiring.rewirer import (
    REVIVED,
    Ramp,
    Rewirer,
    adam_momentum,
    kth_smallest,
    missing_of,
    parametrization_of,
    rewiring,
    step_size,
)
from snn.settings.config import RunConfig


@torch.no_grad()
def cut_at(connections: Sequence[Connections], sparsity: float) -> None:
    """Remove round(sparsity * all) connections, the weakest over all layers.

    If too few strengths are above zero, the strongest of the others are raised just above
    it. All tensors stay on the device.
    """
    strengths = torch.cat([conn.weight.flatten() for conn in connections])
    threshold = kth_smallest(strengths, missing_of(sparsity, connections))
    for conn in connections:
        # empty unless the threshold is below zero
        too_low = (conn.weight > threshold) & (conn.weight <= 0)
        conn.weight.masked_fill_(too_low, REVIVED)
        parametrization_of(conn, StrengthParametrization).cut.copy_(threshold.clamp(min=0))


class ClosedLoop(Rewirer):
    """A common threshold on all strengths that follows the target sparsity."""

    def __init__(self, connections: Sequence[Connections], ramp: Ramp) -> None:
        self.connections, self.ramp = connections, ramp
        for conn in connections:
            conn.hold_strengths()

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        sparsity = self.ramp.sparsity(step, steps)
        if sparsity is not None:
            cut_at(self.connections, sparsity)


class OpenLoop(Rewirer):
    """The published Laplace prior, outside of the optimizer's normalisation.

    theta <- theta - step * (gradient's part) - step * alpha * sign(theta - mu), with Adam's
    bias-corrected step eta / (1 - beta1^k) for Adam. Both parts use theta before the step,
    as published and as released; the optimizer's part does not depend on theta, so the
    prior's is applied first.
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


@rewiring("closed-loop")
def closed_loop(connections: Sequence[Connections], config: RunConfig, index: int) -> ClosedLoop:
    """Return the closed loop of a config."""
    return ClosedLoop(connections, Ramp.of(config))


@rewiring("open-loop")
def open_loop(connections: Sequence[Connections], config: RunConfig, index: int) -> OpenLoop:
    """Return the open loop of a config."""
    return OpenLoop(
        connections,
        target=config.target_sparsity,
        strength=config.prior_strength,
        beta=adam_momentum(config),
    )

"""Rewiring: connections that go and return during training (Grad R, Chen et al. 2021).

A connection has a fixed sign and a strength theta; its weight is sign * theta
where it exists. Every strength receives sign * dL/dw, whether the connection
exists or not (`layers.Gate`), so the optimizer's ordinary step is Grad R's.
What decides who exists differs:

- closed loop (ours): those whose theta exceeds a common threshold, set so that
  the share of missing connections follows the target. It keeps Grad R's
  competition and spares the survivors the drift that shrinks them.
- open loop (as published): theta > 0, with a Laplace prior that pulls every
  theta towards mu = ln(2 - 2p) / alpha. At usual settings mu is so far away
  that alpha alone decides what is reached, not the target p.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from snn.config import RunConfig
from snn.layers import Connections

REVIVED = 1e-8  # strength of a connection that must exist although its theta fell below zero


class Rewirer(Protocol):
    """Decides after every optimizer step which connections exist."""

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """`step` counts from 1 to `steps`; `learning_rate` is the one that was used."""


class ClosedLoop:
    """A threshold on the strengths of all connections together that follows the target.

    After a share u of the ramp the missing share is target * (1 - (1 - u)^3),
    and the target itself from the end of the ramp on.
    """

    def __init__(
        self, connections: Sequence[Connections], *, target: float, ramp: float, every: int
    ) -> None:
        self.connections, self.target, self.ramp, self.every = connections, target, ramp, every

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del learning_rate
        if step % self.every == 0 or step == steps:
            done = min(step / steps / self.ramp, 1)
            self.cut(self.target * (1 - (1 - done) ** 3))

    @torch.no_grad()
    def cut(self, sparsity: float) -> None:
        """Leave round(sparsity * all) connections missing, the weakest over all layers."""
        strengths = torch.cat([conn.weight.flatten() for conn in self.connections])
        missing = round(sparsity * strengths.numel())
        threshold = -math.inf
        if missing > 0:
            threshold = float(_kth_smallest(strengths, missing))
        for conn in self.connections:
            if threshold < 0:
                too_low = (conn.weight > threshold) & (conn.weight <= 0)
                conn.weight.masked_fill_(too_low, REVIVED)
            conn.cut.fill_(max(threshold, 0.0))


def _kth_smallest(values: Tensor, k: int) -> Tensor:
    """The k-th smallest of a vector, counted from 1."""
    if values.is_cuda:  # where selecting has no deterministic form, sorting has
        return values.sort().values[k - 1]
    return values.kthvalue(k).values


class OpenLoop:
    """Grad R's published prior, outside the optimizer's normalisation.

    theta <- theta - step * alpha * sign(theta - mu), with Adam's bias-corrected
    step eta / (1 - beta1^k) where Adam is used (methods as released).
    """

    def __init__(
        self, connections: Sequence[Connections], *, target: float, strength: float, beta: float
    ) -> None:
        self.connections, self.strength, self.beta = connections, strength, beta
        self.location = math.log(2 - 2 * target) / strength if strength > 0 else -math.inf

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        del steps
        size = learning_rate / (1 - self.beta**step) * self.strength
        for conn in self.connections:
            conn.weight.sub_(size * torch.sign(conn.weight - self.location))


def make_rewirer(connections: Sequence[Connections], config: RunConfig) -> Rewirer | None:
    """Turns the connections into rewired ones; None where the target is dense."""
    if config.target_sparsity == 0:
        return None
    for conn in connections:
        conn.rewire()
    if config.rewiring == "closed-loop":
        return ClosedLoop(
            connections,
            target=config.target_sparsity,
            ramp=config.rewiring_ramp,
            every=config.rewiring_every,
        )
    beta = 0.9 if config.optimizer == "adam" else 0.0
    return OpenLoop(
        connections, target=config.target_sparsity, strength=config.prior_strength, beta=beta
    )


def connectivity(connections: Sequence[Connections]) -> float:
    """Fraction of connections that exist."""
    possible = sum(conn.weight.numel() for conn in connections)
    return sum(int(conn.exists().sum()) for conn in connections) / possible

"""Deep R (Bellec et al. 2018): a random walk of connections, at a number that never changes.

A connection has a fixed sign and a strength theta; its weight is sign * theta
where it exists. Only what exists gets gradient; it also drifts towards zero by
alpha and is shaken by noise of variance 2 * step * temperature. The asked
sparsity is there from the start, in random connections over all layers
together; what remains starts stronger by 1 / sqrt(share that exists), so that
the currents keep their variance.

- hard: a strength that falls to zero makes its connection dormant, and random
  dormant ones return in its place. The published code applies, at the next
  step, a mask from before they returned, so that nothing ever does; here the
  mask is renewed. It also never sets the temperature; here it is a setting.
- soft: dormant strengths walk too, between zero and theta_min = - temperature *
  p / (alpha * (1 - p)), below which none may fall; at rest, without gradients,
  a share p of them is below zero. Here they start in that state, and because
  gradients move it, the boundary between existing and not is moved from zero to
  where the asked number exists.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.blocks import generator
from snn.network.layers import Connections
from snn.network.parametrizations import MaskParametrization
from snn.rewiring.grad_r import cut_at
from snn.rewiring.rewirer import (
    REVIVED,
    kth_smallest,
    mask_gate,
    missing_of,
    step_size,
    strength_gate,
)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """How strengths walk: `drift` is alpha, `beta` Adam's first (0 with SGD), noise by seed."""

    target: float  # share of connections that is missing
    drift: float
    temperature: float
    beta: float
    every: int  # steps between rewirings
    seed: int
    index: int = 0  # tells the walks of one seed apart

    def draws(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A generator of this walk."""
        return generator(self.seed, purpose, self.index, str(device))

    def noise(self, size: float, like: Tensor, draws: torch.Generator) -> Tensor:
        """N(0, 2 * size * temperature) for a step of this size."""
        normal = torch.randn(like.shape, generator=draws, device=like.device, dtype=like.dtype)
        return normal * math.sqrt(2 * size * self.temperature)


@torch.no_grad()
def _thin(connections: Sequence[Connections], walk: Walk) -> list[Tensor]:
    """Random masks over all connections together; strengths made up for what is missing."""
    missing = missing_of(walk.target, connections)
    sizes = [conn.weight.numel() for conn in connections]
    draws = walk.draws("first connections")
    chosen = torch.randperm(sum(sizes), generator=draws) >= missing
    masks = []
    for conn, part in zip(connections, chosen.split(sizes), strict=True):
        conn.weight.mul_(1 / math.sqrt(max(1 - walk.target, 1 / sum(sizes))))
        masks.append(part.view_as(conn.weight).to(conn.weight.device))
    return masks


class DeepR:
    """The hard form."""

    def __init__(self, connections: Sequence[Connections], walk: Walk) -> None:
        self.connections, self.walk = connections, walk
        self._draws: torch.Generator | None = None
        for conn, alive in zip(connections, _thin(connections, walk), strict=True):
            conn.gate = MaskParametrization(conn.weight, has_signs=True)
            conn.gate.alive.copy_(alive)
            with torch.no_grad():
                conn.weight.abs_().mul_(alive)

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        if self._draws is None:
            self._draws = self.walk.draws("random walk", self.connections[0].weight.device)
        size = step_size(learning_rate, self.walk.beta, step)
        for conn in self.connections:
            gate, theta = mask_gate(conn), conn.weight
            theta.sub_(size * self.walk.drift).add_(self.walk.noise(size, theta, self._draws))
            # the optimizer's momentum also moved what does not exist
            theta.mul_(gate.alive).clamp_(min=0)
            gate.alive.copy_(theta > 0)
        if step % self.walk.every == 0 or step == steps:
            self._reactivate(self._draws)

    def _reactivate(self, draws: torch.Generator) -> None:
        """Random dormant connections return until the asked number exists."""
        alive = torch.cat([mask_gate(conn).alive.flatten() for conn in self.connections])
        order = torch.randperm(alive.numel(), generator=draws, device=alive.device)
        # dormant ones in random order behind those that exist: a count that is known beforehand
        rank = order.masked_fill(alive, alive.numel())
        last = kth_smallest(rank, missing_of(self.walk.target, self.connections))
        chosen = (rank > last).split([conn.weight.numel() for conn in self.connections])
        for conn, part in zip(self.connections, chosen, strict=True):
            gate, wanted = mask_gate(conn), part.view_as(conn.weight)
            conn.weight.masked_fill_(wanted & ~gate.alive, REVIVED)
            gate.alive.copy_(wanted)


class SoftDeepR:
    """The soft form."""

    def __init__(self, connections: Sequence[Connections], walk: Walk) -> None:
        self.connections, self.walk = connections, walk
        self.lowest = -walk.temperature * walk.target / (walk.drift * (1 - walk.target))
        self._draws: torch.Generator | None = None
        self._before: list[Tensor] = []
        draws = walk.draws("first strengths")
        for conn, alive in zip(connections, _thin(connections, walk), strict=True):
            conn.hold_strengths(is_regrowing=False)
            below = torch.rand(conn.weight.shape, generator=draws).to(conn.weight) * self.lowest
            with torch.no_grad():
                conn.weight.copy_(torch.where(alive, conn.weight, below))
        cut_at(connections, walk.target)

    @torch.no_grad()
    def before_step(self, step: int, *, learning_rate: float) -> None:
        """See Rewirer."""
        del step, learning_rate
        self._before = [conn.weight.clone() for conn in self.connections]

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        if self._draws is None:
            self._draws = self.walk.draws("random walk", self.connections[0].weight.device)
        size = step_size(learning_rate, self.walk.beta, step)
        for conn, before in zip(self.connections, self._before, strict=True):
            alive = strength_gate(conn).exists(before)
            # the optimizer's momentum also moved what did not exist
            theta = torch.where(alive, conn.weight - size * self.walk.drift, before)
            theta += self.walk.noise(size, theta, self._draws)
            conn.weight.copy_(theta.clamp_(min=self.lowest))
        self._before = []
        if step % self.walk.every == 0 or step == steps:
            cut_at(self.connections, self.walk.target)

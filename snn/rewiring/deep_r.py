"""Deep rewiring (Deep R, Bellec et al. 2018, arXiv 1711.05136): a random walk of connections.

A connection has a fixed sign and a strength theta; its weight is sign * theta while it
exists. Only existing connections receive a gradient; they also drift towards zero by alpha,
with noise of variance 2 * step * temperature. The number of connections is constant: the
target sparsity holds from the start, with random connections over all layers together,
whose initial strengths are multiplied by 1 / sqrt(share that exists) to keep the variance
of the currents.

- hard: a connection whose strength falls to zero becomes dormant, and random dormant
  connections replace it. The released code applies an outdated mask at the next step, so
  that no connection regrows; here the mask is updated. It also never sets the temperature;
  here the temperature is a setting.
- soft: dormant strengths walk too, between zero and the lower bound theta_min =
  - temperature * p / (alpha * (1 - p)); in equilibrium, without gradients, a share p of
  them is below zero. Here strengths start in this equilibrium. Because gradients disturb
  it, the boundary of existence is moved from zero to where the target number exists.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.network.connections import Connections
from snn.network.parametrizations import MaskParametrization, StrengthParametrization
from snn.network.seeding import generator
from snn.rewiring.grad_r import cut_at
from snn.rewiring.rewirer import (
    REVIVED,
    Rewirer,
    adam_momentum,
    kth_smallest,
    missing_of,
    parametrization_of,
    rewiring,
    step_size,
)
from snn.settings.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Parameters of the walk: `drift` is alpha, `beta` is Adam's beta1 (0 with SGD)."""

    target: float  # share of missing connections
    drift: float
    temperature: float
    beta: float
    every: int  # steps between rewirings
    seed: int
    index: int = 0  # tells apart walks with one seed

    @classmethod
    def of(cls, config: RunConfig, index: int) -> "Walk":
        """Return the walk of a config."""
        return cls(
            target=config.target_sparsity,
            drift=config.prior_strength,
            temperature=config.rewiring_temperature,
            beta=adam_momentum(config),
            every=config.rewiring_every,
            seed=config.seed,
            index=index,
        )

    def draws(self, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a generator of this walk."""
        return generator(self.seed, purpose, self.index, str(device))

    def noise(self, size: float, like: Tensor, draws: torch.Generator) -> Tensor:
        """Return draws from N(0, 2 * size * temperature) for a step of this size."""
        normal = torch.randn(like.shape, generator=draws, device=like.device, dtype=like.dtype)
        return normal * math.sqrt(2 * size * self.temperature)


@torch.no_grad()
def _thin(connections: Sequence[Connections], walk: Walk) -> list[Tensor]:
    """Return random masks over all connections together; scale the remaining strengths."""
    missing = missing_of(walk.target, connections)
    sizes = [conn.weight.numel() for conn in connections]
    draws = walk.draws("first connections")
    chosen = torch.randperm(sum(sizes), generator=draws) >= missing
    masks = []
    for conn, part in zip(connections, chosen.split(sizes), strict=True):
        conn.weight.mul_(1 / math.sqrt(max(1 - walk.target, 1 / sum(sizes))))
        masks.append(part.view_as(conn.weight).to(conn.weight.device))
    return masks


class _Walking(Rewirer):
    """Connections on a random walk; its draws are made on their device."""

    def __init__(self, connections: Sequence[Connections], walk: Walk) -> None:
        self.connections, self.walk = connections, walk

    @functools.cached_property
    def _draws(self) -> torch.Generator:
        # made late: connections are moved to their device after the rewirer is made
        return self.walk.draws("random walk", self.connections[0].weight.device)

    def state(self) -> Mapping[str, Tensor | torch.Generator]:
        """See Rewirer."""
        return {"draws": self._draws}


class DeepR(_Walking):
    """Hard Deep R."""

    def __init__(self, connections: Sequence[Connections], walk: Walk) -> None:
        super().__init__(connections, walk)
        for conn, alive in zip(connections, _thin(connections, walk), strict=True):
            mask = MaskParametrization(conn.weight, has_signs=True)
            mask.alive.copy_(alive)
            conn.parametrization = mask
            with torch.no_grad():
                conn.weight.abs_().mul_(alive)

    @torch.no_grad()
    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """See Rewirer."""
        size = step_size(learning_rate, self.walk.beta, step)
        for conn in self.connections:
            mask, theta = parametrization_of(conn, MaskParametrization), conn.weight
            theta.sub_(size * self.walk.drift).add_(self.walk.noise(size, theta, self._draws))
            # the optimizer's momentum also moved dormant connections
            theta.mul_(mask.alive).clamp_(min=0)
            mask.alive.copy_(theta > 0)
        if step % self.walk.every == 0 or step == steps:
            self._reactivate(self._draws)

    def _reactivate(self, draws: torch.Generator) -> None:
        """Regrow random dormant connections until the target number exists."""
        masks = [parametrization_of(conn, MaskParametrization) for conn in self.connections]
        alive = torch.cat([mask.alive.flatten() for mask in masks])
        order = torch.randperm(alive.numel(), generator=draws, device=alive.device)
        # existing connections rank last, so the number of missing ones is known in advance
        rank = order.masked_fill(alive, alive.numel())
        last = kth_smallest(rank, missing_of(self.walk.target, self.connections))
        chosen = (rank > last).split([conn.weight.numel() for conn in self.connections])
        for conn, mask, part in zip(self.connections, masks, chosen, strict=True):
            wanted = part.view_as(conn.weight)
            conn.weight.masked_fill_(wanted & ~mask.alive, REVIVED)
            mask.alive.copy_(wanted)


class SoftDeepR(_Walking):
    """Soft Deep R."""

    def __init__(self, connections: Sequence[Connections], walk: Walk) -> None:
        super().__init__(connections, walk)
        self.lowest = -walk.temperature * walk.target / (walk.drift * (1 - walk.target))
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
        size = step_size(learning_rate, self.walk.beta, step)
        for conn, before in zip(self.connections, self._before, strict=True):
            alive = parametrization_of(conn, StrengthParametrization).exists(before)
            # the optimizer's momentum also moved dormant connections
            theta = torch.where(alive, conn.weight - size * self.walk.drift, before)
            theta += self.walk.noise(size, theta, self._draws)
            conn.weight.copy_(theta.clamp_(min=self.lowest))
        self._before = []
        if step % self.walk.every == 0 or step == steps:
            cut_at(self.connections, self.walk.target)


@rewiring("deep-r")
def deep_r(connections: Sequence[Connections], config: RunConfig, index: int) -> DeepR:
    """Return hard Deep R of a config."""
    return DeepR(connections, Walk.of(config, index))


@rewiring("deep-r-soft")
def soft_deep_r(connections: Sequence[Connections], config: RunConfig, index: int) -> SoftDeepR:
    """Return soft Deep R of a config."""
    return SoftDeepR(connections, Walk.of(config, index))

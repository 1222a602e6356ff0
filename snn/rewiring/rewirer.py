"""The contract of a form of rewiring, the registry of forms, and their shared parts."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from snn.network.connections import Connections
from snn.network.parametrizations import ConnectionParametrization
from snn.settings.config import RunConfig

REVIVED = 1e-8
"""Strength of a connection that regrows, or must exist although its strength is below zero."""


class Rewirer(Protocol):
    """Decides at every optimizer step which connections exist.

    `step` counts from 1 to `steps`; `learning_rate` is that of the step. A class that inherits
    from this one needs only the methods in which it does something.
    """

    def before_step(self, step: int, *, learning_rate: float) -> None:
        """Prepare a step: gradients are known, strengths are unchanged."""
        del step, learning_rate

    def after_step(self, step: int, *, steps: int, learning_rate: float) -> None:
        """Remove and regrow connections after the optimizer has moved the strengths."""
        del step, steps, learning_rate

    def state(self) -> Mapping[str, Tensor | torch.Generator]:
        """Return what it keeps from step to step, parameters and buffers of connections aside.

        The tensors and generators themselves: a training that continues from a checkpoint
        writes their earlier values into them.
        """
        return {}


MakeRewirer = Callable[[Sequence[Connections], RunConfig, int], Rewirer]

FORMS: dict[str, MakeRewirer] = {}
"""Forms of rewiring by their name in `RunConfig.rewiring`."""

Make = TypeVar("Make", bound=MakeRewirer)


def rewiring(name: str) -> Callable[[Make], Make]:
    """Register a function that makes a rewirer, under a choice of `RunConfig.rewiring`.

    Its last argument tells apart parts of a network that are rewired separately with one seed.
    """

    def register(make: Make) -> Make:
        FORMS[name] = make
        return make

    return register


class Ramp:
    """Schedule of sparsity: target * (1 - (1 - u)^3) after a share u of the ramp.

    From the end of the ramp on the target itself (Zhu & Gupta 2017). Updated every `every`
    steps and at the last step.
    """

    def __init__(self, *, target: float, ramp: float, every: int) -> None:
        self.target, self.ramp, self.every = target, ramp, every

    @classmethod
    def of(cls, config: RunConfig) -> "Ramp":
        """Return the ramp of a config."""
        return cls(
            target=config.target_sparsity, ramp=config.rewiring_ramp, every=config.rewiring_every
        )

    def sparsity(self, step: int, steps: int) -> float | None:
        """Return the share of connections to remove in total; None between updates."""
        if step % self.every and step != steps:
            return None
        done = min(step / steps / self.ramp, 1)
        return self.target * (1 - (1 - done) ** 3)


def missing_of(sparsity: float, connections: Sequence[Connections]) -> int:
    """Return the number of connections that must be missing at a sparsity."""
    return round(sparsity * sum(conn.weight.numel() for conn in connections))


def kth_smallest(values: Tensor, k: int) -> Tensor:
    """Return the k-th smallest value of a vector, counted from 1, as a tensor on its device.

    Minus infinity (-1 for integers) for k = 0.
    """
    if k == 0:
        least = -math.inf if values.is_floating_point() else -1
        return values.new_full((), least)
    if values.is_cuda:  # kthvalue has no deterministic form there, sort has
        return values.sort().values[k - 1]
    return values.kthvalue(k).values


def adam_momentum(config: RunConfig) -> float:
    """Return Adam's beta1, 0 for SGD; see `step_size`."""
    return 0.9 if config.optimizer == "adam" else 0.0


def step_size(learning_rate: float, beta: float, step: int) -> float:
    """Return Adam's bias-corrected step eta / (1 - beta1^k); eta itself for beta = 0."""
    return learning_rate / (1 - beta**step)


Kind = TypeVar("Kind", bound=ConnectionParametrization)


def parametrization_of(conn: Connections, kind: type[Kind]) -> Kind:
    """Return the parametrization of connections, which must be of a kind."""
    assert isinstance(conn.parametrization, kind)
    return conn.parametrization

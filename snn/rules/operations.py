"""Operations that learning from a batch takes, counted on a copy of the network.

As at inference an operation is spent where a connection exists and what goes through it is not
zero. Of each set of connections:

- forward: the spikes that arrive, each over its existing connections, at every timestep; in a
  pass over rates one multiplication per value that is not zero. Frozen blocks that run with the
  batch are included.
- error: one multiplication per existing connection of each neuron with an error, wherever the
  error goes on to the inputs.
- gradient: one operation per connection with both an input and an error. Of connections that do
  not exist only where they are trained all the same, to regrow.
- writes and updates: existing weights that plasticity changes, or an optimizer step.

Errors count as often as the rule makes them: at every timestep or once. Inputs of the gradient
are what the rule takes: spikes, traces, rates, causes of a spike. Not counted are what is done
once per neuron or parameter (surrogates, traces, norms, moments of the optimizer), skips on the way
back, and the loss.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from snn.network.blocks import connections_of
from snn.network.connections import Connections
from snn.network.cost import OperationCounter
from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.rules.micro_batches import learn
from snn.rules.rule import RATE_RULES, TIMELESS, Batch


@dataclass(frozen=True, kw_only=True)
class LearningOps:
    """Operations of learning, as numbers of accumulates and multiply-accumulates."""

    forward: float = 0.0
    error: float = 0.0
    gradient: float = 0.0
    writes: float = 0.0  # of plasticity
    updates: float = 0.0  # of optimizer steps, whatever the number of images

    def times(self, share: float, *, batches: int) -> float:
        """Return the sum for `share` times the images in `batches` times the optimizer steps."""
        each = self.forward + self.error + self.gradient + self.writes
        return share * each + batches * self.updates


def count_operations(
    network: Network, batch: Batch, draws: torch.Generator, *, images: int
) -> LearningOps:
    """Return what a batch costs whose images are all like the first `images` of it.

    By the time rule of the network. Neither the network nor `draws` are changed.
    """
    share = len(batch.labels) / len(batch.labels[:images])
    batch = replace(
        batch,
        drive=batch.drive[:, :images],
        labels=batch.labels[:images],
        pixels=None if batch.pixels is None else batch.pixels[:images],
    )
    rule = network.config.time_rule
    copied, passes = copy.deepcopy(network), _Passes(rule)
    copied.memory_mode = "full"
    forward = 0.0 if rule in TIMELESS else _spikes(copied, batch, draws)
    live, steps = copied.live_connections(batch.frozen), list[int]()
    for conn in connections_of(copied):
        conn.counter = passes
    learn(copied, batch, _context(draws), apply=lambda: steps.append(1))
    forward += float(passes.forward)
    learned = sum(float(conn.plasticity.writes) for conn in live if conn.plasticity is not None)
    before = sum(
        float(conn.plasticity.writes)
        for conn in network.live_connections(batch.frozen)
        if conn.plasticity is not None
    )
    return LearningOps(
        forward=share * forward,
        error=share * float(passes.error),
        gradient=share * float(passes.gradient),
        writes=share * (learned - before),
        updates=float(len(steps) * _written(live)),
    )


def _context(draws: torch.Generator) -> ForwardContext:
    own = torch.Generator(draws.device)
    own.set_state(draws.get_state())
    return ForwardContext(generator=own)


@torch.no_grad()
def _spikes(network: Network, batch: Batch, draws: torch.Generator) -> float:
    """Return the operations of the forward pass by spikes."""
    context = _context(draws)
    context.observer = counter = _Arrivals(context)
    network.run(
        batch.drive, context, timesteps=batch.timesteps, frozen=batch.frozen, wants=("logits",)
    )
    return counter.total


class _Arrivals(OperationCounter):
    """Counts spikes that dropout has made larger as one each."""

    def __init__(self, context: ForwardContext) -> None:
        super().__init__()
        self._context = context

    def _counts(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        context = self._context
        spike = {"neurons": context.spike, "border": context.border_spike}.get(conn.kind, 1.0)
        return super()._counts(owner, conn, x / spike, steps)


def _written(live: Sequence[Connections]) -> float:
    """Return the weights that an optimizer step changes."""
    return sum(
        conn.weight.numel() if _trains_all(conn) else int(conn.exists().sum())
        for conn in live
        if conn.weight.requires_grad
    )


def _trains_all(conn: Connections) -> bool:
    """Return whether connections that do not exist are trained too."""
    return conn.parametrization is not None and conn.parametrization.is_regrowing


class _Passes:
    """Counts maps of rates, and backward passes; see PassCounter."""

    def __init__(self, rule: str) -> None:
        self.has_rates, self.is_timeless = rule in RATE_RULES, rule in TIMELESS
        self.forward, self.error, self.gradient = (
            torch.zeros((), dtype=torch.float64) for _ in range(3)
        )

    def mapped(
        self,
        conn: Connections,
        x: Tensor,
        weight: Tensor,
        current: Tensor,
        *,
        passes_error: bool,
    ) -> None:
        """See PassCounter."""
        is_trained = current.requires_grad
        if self.is_timeless or (self.has_rates and is_trained):
            with torch.no_grad():
                arrived = conn.linear(_is_set(x), _is_set(weight))
            self.forward = self.forward + arrived.sum(dtype=torch.float64)
        if not is_trained:
            return

        def count(grad: Tensor) -> None:
            active, exists, wrong = _is_set(x), _is_set(weight), _is_set(grad)
            own = torch.ones_like(exists) if _trains_all(conn) else exists
            trained = conn.linear(active, own)
            self.gradient = self.gradient + (trained * wrong).sum(dtype=torch.float64)
            if passes_error:
                steps = 1 if conn.delays is None else 1 + conn.delays.longest
                fan_in = conn.linear(torch.ones_like(active[:steps, :1]), exists)
                self.error = self.error + (fan_in * wrong).sum(dtype=torch.float64)

        current.register_hook(count)

    def paired(
        self, conn: Connections, current: Tensor, inputs: Tensor, *, passes_error: bool
    ) -> None:
        """See PassCounter."""
        del conn

        def count(grad: Tensor) -> None:
            pairs = (inputs * _is_set(grad)).sum(dtype=torch.float64)
            self.gradient = self.gradient + pairs
            if passes_error:
                self.error = self.error + pairs

        current.register_hook(count)


def _is_set(x: Tensor) -> Tensor:
    return (x.detach() != 0).to(torch.float32)

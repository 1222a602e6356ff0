"""Readouts: integrators of an exit, and their output after some timesteps.

    u[t] = leak * (u[t-1] + x[t])                output after T' timesteps: u[T'] / T'

The leak acts after the input, as in Lee et al. 2020. Without a leak (leak 1) the output
is the mean input.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from snn.network.connections import Connections
from snn.network.layers import ForwardContext
from snn.network.units import BlockBuilder, SignalSpec


class Readout(nn.Module):
    """Output units that integrate and never fire; their output is the mean input."""

    def __init__(self, source: SignalSpec, outputs: int, builder: BlockBuilder) -> None:
        super().__init__()
        self.connections = Connections(
            (outputs, math.prod(source.shape)),
            spikes_per_unit=source.spikes_per_unit,
            generator=builder.generator,
        )
        with torch.no_grad():
            # small at first: a large early readout drowns the gradient of the others
            self.connections.weight.mul_(0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = builder.readout_gain

    @property
    def parts(self) -> list[Connections]:
        """All sets of connections."""
        return [self.connections]

    def forward(self, x: Tensor, batch: ForwardContext, *, packs: bool = True) -> Tensor:
        """Return the input of the integrators, (time, batch, outputs).

        `packs`: whether `x` are spikes, which may be stored as bits for the backward pass.
        """
        if batch.observer is not None:
            batch.observer.readout(self.connections, x)
        x = x.flatten(2) if batch.gain == self.gain else x.flatten(2) * (self.gain / batch.gain)
        if batch.dynamics is not None:
            return batch.dynamics.readout(self, x, batch)
        conn = self.connections
        levels = batch.levels(conn, x) if packs else None
        current: Tensor = conn(x, batch.weight(conn), self.bias, levels=levels)
        return current

    @torch.no_grad()
    def fold_from(self, trained: "Readout") -> None:
        """Take over all but the weights, which are there, of the readout to fold."""
        self.bias.copy_(trained.bias)
        self.connections.weight.mul_(trained.gain)


def integrated(inputs: Tensor, *, leak: float, steps: int | None = None) -> Tensor:
    """Return the output (batch, classes) after the first `steps` timesteps; None: after all.

    `inputs` are (time, batch, classes).
    """
    used = inputs if steps is None else inputs[:steps]
    if leak == 1:
        return used.mean(dim=0)
    return torch.einsum("t,tbc->bc", _shares(len(used), leak, used), used)


def integrated_each_step(inputs: Tensor, *, leak: float) -> Tensor:
    """Return the outputs after every timestep, (time, batch, classes) like `inputs`."""
    # as a matrix product: a cumulative sum has no deterministic form on GPUs
    steps = len(inputs)
    shares = inputs.new_zeros(steps, steps)
    for step in range(steps):
        shares[step, : step + 1] = _shares(step + 1, leak, inputs)
    return torch.einsum("st,tbc->sbc", shares, inputs)


def _shares(steps: int, leak: float, like: Tensor) -> Tensor:
    """Return the weight of each timestep in the output after the last: (steps,)."""
    ages = torch.arange(steps, 0, -1, dtype=like.dtype, device=like.device)
    return leak**ages / steps


def total(x: Tensor) -> Tensor:
    """Return the sum of `x` (time, batch, ...) over time, (1, batch, ...)."""
    if len(x) == 1:
        return x
    if x.is_cuda:  # on a GPU one launch is faster than one per timestep
        return x.sum(dim=0, keepdim=True)
    result: Tensor = _Total.apply(x)  # type: ignore[no-untyped-call]
    return result


def with_ordered_gradient(x: Tensor) -> Tensor:
    """Return `x`; its gradient is copied into the memory order of `x` if it has another.

    One copy here replaces a copy in each consumer of that gradient.
    """
    result: Tensor = _OrderedGradient.apply(x)  # type: ignore[no-untyped-call]
    return result


class _Total(torch.autograd.Function):
    """Adds timestep by timestep: faster on a CPU than a reduction over a short first axis."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.steps = len(x)
        result = x[0] + x[1]
        for one in x[2:]:
            result += one
        return result.unsqueeze(0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.expand(ctx.steps, *grad.shape[1:])


class _OrderedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.strides = x.stride()
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if grad.stride() == ctx.strides:
            return grad
        return grad.new_empty_strided(grad.shape, ctx.strides).copy_(grad)

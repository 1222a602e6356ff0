"""Neurons that fire at most once, at a time that carries the information.

Each input spike at timestep t_j starts a current with the time constant tau, which is summed
without leak (Mostafa 2017, arXiv 1606.08165):

    V(t) = sum over inputs before t of w_j (1 - exp(-(t - t_j) / tau))

A neuron fires at the first timestep at which V reaches the threshold, and never again. With
tau 0 an input counts at once and V is the sum of the weights of all inputs so far (Kheradpisheh
et al. 2018).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snn.network.neurons import Lif

START_WEIGHT, START_DEVIATION = 0.8, 0.05
"""Initial weights of connections with plasticity."""

START_SUM = 6.0
"""Mean of the summed initial weights of a neuron, in thresholds: most of them can fire."""


@dataclass(frozen=True, kw_only=True)
class FirstSpike(Lif):
    """Constants of a population of neurons that fire once.

    `gain` is the output of an output neuron from its spike on.
    """

    tau: float = 0.0  # timesteps
    is_exclusive: bool = False  # at each position only the map that fires first does
    gain: float = 1.0

    def __call__(
        self,
        current: Tensor,
        state: Tensor | None,
        *,
        leak: Tensor | None = None,
        threshold: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return spikes like `current` (time, batch, ...), and the state after them.

        The state (batch, ..., 3) has the summed weights of the inputs, the part of them that
        has not arrived yet, and whether the neuron has fired. There is no gradient.
        """
        del leak, threshold
        if state is None:
            state = current.new_zeros(*current.shape[1:], 3)
        decay = math.exp(-1 / self.tau) if self.tau > 0 else 0.0
        total, coming, fired = state.detach().unbind(-1)
        spikes = []
        for x in current.detach():
            total = total + x
            coming = decay * coming + x if decay > 0 else coming
            now = self._firing(total - coming, fired)
            spikes.append(now)
            fired = fired + now
        return torch.stack(spikes), torch.stack([total, coming, fired], dim=-1)

    def _firing(self, potential: Tensor, fired: Tensor) -> Tensor:
        if not self.is_exclusive or potential.dim() < 4:
            return ((potential >= self.threshold) & (fired == 0)).to(potential)
        is_free = fired.amax(dim=1, keepdim=True) == 0
        fires = (potential >= self.threshold) & is_free
        highest = potential.masked_fill(~fires, -math.inf)
        # of equal potentials the first map
        first = highest.argmax(dim=1, keepdim=True)
        spikes = torch.zeros_like(potential)
        return spikes.scatter_(1, first, fires.amax(dim=1, keepdim=True).to(potential))

    def answer(self, spikes: Tensor, state: Tensor | None) -> Tensor:
        """Return the output of output neurons, (time, batch, ...): `gain` from their spike on.

        `state` is the one before. Its mean over t timesteps is higher the earlier the spike.
        """
        before = torch.zeros_like(spikes[0]) if state is None else state[..., 2]
        held, answers = before, []
        for now in spikes:
            held = held + now
            answers.append(held)
        return self.gain * torch.stack(answers)


class Plasticity(nn.Module):
    """What connections that learn by plasticity keep: images, updates, operations."""

    images: Tensor
    updates: Tensor
    arrivals: Tensor
    writes: Tensor

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros((), dtype=torch.float64))
        self.register_buffer("updates", torch.zeros(maps, dtype=torch.float64))  # of each map
        # accumulates of the spikes that arrived while it learned, and weights that were written
        self.register_buffer("arrivals", torch.zeros((), dtype=torch.float64))
        self.register_buffer("writes", torch.zeros((), dtype=torch.float64))

    @property
    def operations(self) -> float:
        """All operations that learning took."""
        return float(self.arrivals + self.writes)

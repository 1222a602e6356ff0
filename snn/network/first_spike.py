"""Neurons that fire at most once, at a time that carries the information.

The potential is the sum of the responses to the inputs, each a function of the time since then:

    V(t) = sum over inputs before t of w_j kernel(t - t_j)

A neuron fires at the first timestep at which V reaches the threshold, and never again. The
kernels of `spike-time` have a highest value of 1 and the time constant tau of a current:

- `mostafa`: summed without leak, 1 - exp(-s / tau) (Mostafa 2017, arXiv 1606.08165).
- `lif1`: a membrane with the same time constant, e s / tau exp(-s / tau).
- `lif2`: a membrane with twice the time constant, 4 (exp(-s / 2 tau) - exp(-s / tau)) (Göltz et
  al. 2021, arXiv 1912.11443, for both).

With tau 0 an input counts at once and V is the sum of the weights of all inputs so far
(Kheradpisheh et al. 2018).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from snn.network.neurons import Lif

START_WEIGHT, START_DEVIATION = 0.8, 0.05
"""Initial weights of connections with plasticity."""

START_SUM = 6.0
"""Mean of the summed initial weights of a neuron, in thresholds: most of them can fire."""


class Kernel(Protocol):
    """The response of a potential to one input spike; V is kept in two sums over all inputs.

    The sums (`slow`, `fast`) decay from timestep to timestep, and an input adds its weight.
    """

    def advance(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums a timestep later."""

    def arrive(self, slow: Tensor, fast: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums with inputs that arrive now."""

    def potential(self, slow: Tensor, fast: Tensor) -> Tensor:
        """Return V now."""

    def delay(self, slow: Tensor, fast: Tensor, threshold: float) -> Tensor:
        """Return the time from now until V first reaches the threshold from below."""

    def value(self, since: Tensor) -> Tensor:
        """Return the kernel at times from 0 on."""

    def slope(self, since: Tensor) -> Tensor:
        """Return its derivative there."""


@dataclass(frozen=True)
class Summed:
    """`mostafa`: slow is the sum of the weights, fast of weights times exp(-s / tau)."""

    tau: float

    def advance(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        return slow, fast * math.exp(-1 / self.tau)

    def arrive(self, slow: Tensor, fast: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        return slow + weight, fast + weight

    def potential(self, slow: Tensor, fast: Tensor) -> Tensor:
        """See Kernel."""
        return slow - fast

    def delay(self, slow: Tensor, fast: Tensor, threshold: float) -> Tensor:
        """See Kernel."""
        return self.tau * torch.log(fast / (slow - threshold))

    def value(self, since: Tensor) -> Tensor:
        """See Kernel."""
        return 1 - torch.exp(-since / self.tau)

    def slope(self, since: Tensor) -> Tensor:
        """See Kernel."""
        return torch.exp(-since / self.tau) / self.tau


@dataclass(frozen=True)
class EqualConstants:
    """`lif1`: slow is the sum of w s / tau exp(-s / tau), fast of w exp(-s / tau)."""

    tau: float

    def advance(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        decay = math.exp(-1 / self.tau)
        return decay * (slow + fast / self.tau), decay * fast

    def arrive(self, slow: Tensor, fast: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        return slow, fast + weight

    def potential(self, slow: Tensor, fast: Tensor) -> Tensor:
        """See Kernel."""
        return math.e * slow

    def delay(self, slow: Tensor, fast: Tensor, threshold: float) -> Tensor:
        """See Kernel; with y = s / tau, e (slow + fast y) exp(-y) = threshold."""
        ratio = slow / fast
        right = threshold / (math.e * fast) * torch.exp(-ratio)
        return self.tau * (-lambert(-right) - ratio)

    def value(self, since: Tensor) -> Tensor:
        """See Kernel."""
        return since / self.tau * torch.exp(1 - since / self.tau)

    def slope(self, since: Tensor) -> Tensor:
        """See Kernel."""
        return (1 - since / self.tau) * torch.exp(1 - since / self.tau) / self.tau


@dataclass(frozen=True)
class TwiceTheConstant:
    """`lif2`: slow is the sum of w exp(-s / 2 tau), fast of w exp(-s / tau)."""

    tau: float

    def advance(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        return slow * math.exp(-0.5 / self.tau), fast * math.exp(-1 / self.tau)

    def arrive(self, slow: Tensor, fast: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See Kernel."""
        return slow + weight, fast + weight

    def potential(self, slow: Tensor, fast: Tensor) -> Tensor:
        """See Kernel."""
        return 4 * (slow - fast)

    def delay(self, slow: Tensor, fast: Tensor, threshold: float) -> Tensor:
        """See Kernel; with u = exp(-s / 2 tau), 4 (slow u - fast u^2) = threshold.

        Of two positive solutions the larger u; one alone is written so that fast may be 0.
        """
        root = slow + (slow.square() - fast * threshold).clamp(min=0).sqrt()
        u = torch.where(fast > 0, root / (2 * fast), threshold / (2 * root))
        return -2 * self.tau * torch.log(u)

    def value(self, since: Tensor) -> Tensor:
        """See Kernel."""
        return 4 * (torch.exp(-0.5 * since / self.tau) - torch.exp(-since / self.tau))

    def slope(self, since: Tensor) -> Tensor:
        """See Kernel."""
        late, early = torch.exp(-since / self.tau), torch.exp(-0.5 * since / self.tau)
        return (4 * late - 2 * early) / self.tau


def lambert(x: Tensor) -> Tensor:
    """Return w >= -1 with w exp(w) = x, for x from -1 / e to 0 (Corless et al. 1996, Halley)."""
    p = (2 * (1 + math.e * x)).clamp(min=0).sqrt()
    w = torch.where(p < 1, -1 + p - p.square() / 3 + 11 / 72 * p**3, x * (1 - x))
    for _ in range(6):
        power = torch.exp(w)
        left = w * power - x
        near = (w + 1).clamp(min=1e-12)
        w = w - left / (power * near - (w + 2) * left / (2 * near))
    return w


KERNELS: dict[str, Callable[[float], Kernel]] = {
    "mostafa": Summed,
    "lif1": EqualConstants,
    "lif2": TwiceTheConstant,
}
"""Kernels by the setting `spike_kernel`."""


@dataclass(frozen=True, kw_only=True)
class FirstSpike(Lif):
    """Constants of a population of neurons that fire once.

    `gain` is the output of an output neuron from its spike on.
    """

    tau: float = 0.0  # timesteps
    spike_kernel: str = "mostafa"
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

        The state (batch, ..., 3) has the two sums of the kernel, and whether the neuron has
        fired. There is no gradient.
        """
        del leak, threshold
        if state is None:
            state = current.new_zeros(*current.shape[1:], 3)
        kernel = self.kernel if self.tau > 0 else None
        slow, fast, fired = state.detach().unbind(-1)
        spikes = []
        for x in current.detach():
            if kernel is None:
                slow = slow + x
            else:
                slow, fast = kernel.arrive(*kernel.advance(slow, fast), x)
            now = self._firing(slow if kernel is None else kernel.potential(slow, fast), fired)
            spikes.append(now)
            fired = fired + now
        return torch.stack(spikes), torch.stack([slow, fast, fired], dim=-1)

    @property
    def kernel(self) -> Kernel:
        """The response to one input, with a tau above 0."""
        return KERNELS[self.spike_kernel](self.tau)

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

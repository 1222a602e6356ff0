"""Readouts: what the integrators of an exit hold after some timesteps, in its one definition.

    u[t] = leak * (u[t-1] + x[t])                output after T' timesteps: u[T'] / T'

The leak acts behind the input, as in Lee et al. 2020. Without one (leak 1) the
output is the mean input until then.
"""

import torch
from torch import Tensor


def integrated(inputs: Tensor, *, leak: float, steps: int | None = None) -> Tensor:
    """Output (batch, classes) after the first `steps` timesteps of `inputs` (time, batch, classes).

    All of them where `steps` is None.
    """
    seen = inputs if steps is None else inputs[:steps]
    if leak == 1:
        return seen.mean(dim=0)
    return torch.einsum("t,tbc->bc", _shares(len(seen), leak, seen), seen)


def integrated_each_step(inputs: Tensor, *, leak: float) -> Tensor:
    """Outputs after every timestep, (time, batch, classes) like `inputs`."""
    # as a matrix product: a cumulative sum has no deterministic form on GPUs
    steps = len(inputs)
    shares = inputs.new_zeros(steps, steps)
    for step in range(steps):
        shares[step, : step + 1] = _shares(step + 1, leak, inputs)
    return torch.einsum("st,tbc->sbc", shares, inputs)


def _shares(steps: int, leak: float, like: Tensor) -> Tensor:
    """The weight of each timestep in the output after the last: (steps,)."""
    ages = torch.arange(steps, 0, -1, dtype=like.dtype, device=like.device)
    return leak**ages / steps

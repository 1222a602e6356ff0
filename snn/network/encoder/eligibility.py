"""Eligibilities: what a layer keeps to learn from the scores of its weights."""

import torch
from torch import Tensor, nn

KEPT = 0.99
"""Share of the old value in the averages of a baseline, per batch."""


class Eligibility(nn.Module):
    """What a layer keeps between batches to learn from eligibilities e, a number for each weight.

    `power` and `signal` are averages of e^2 and of e^2 times the learning signal. Their ratio is
    the constant baseline with the least variance. The error of a hidden layer comes back through
    random numbers `feedback` (code neurons, neurons), which are never trained; None for code
    neurons, and where the error returns through the weights.
    """

    power: Tensor
    signal: Tensor
    feedback: Tensor | None

    def __init__(self, neurons: int, inputs: int, feedback: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("power", torch.zeros(neurons, inputs))
        self.register_buffer("signal", torch.zeros_like(self.power))
        self.register_buffer("feedback", feedback)

    def baseline(self) -> Tensor:
        """Return the baseline of each weight from the batches before; 0 where there is none."""
        return self.signal / torch.where(self.power > 0, self.power, 1.0)

    @torch.no_grad()
    def update(self, power: Tensor, signal: Tensor) -> None:
        """Add the means of a batch to the averages; both begin at 0, so their ratio is unbiased."""
        self.power.lerp_(power, 1 - KEPT)
        self.signal.lerp_(signal, 1 - KEPT)

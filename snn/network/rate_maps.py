"""Rate maps: activations of a network without time, as firing rates of its neurons.

An integrate-and-fire neuron with soft reset, threshold V and a constant input current z
fires at the rate clip(z / V, 0, 1) after many timesteps (Rueckauer et al. 2017; Ding et al.
2021, arXiv 2105.11654). A network with such activations has the weights of the spiking one.
"""

import torch
from torch import Tensor, nn


class RateMap(nn.Module):
    """An activation: from currents and the threshold of their neurons to rates, same shape."""

    def forward(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        raise NotImplementedError


class Rectified(RateMap):
    """ReLU, whose threshold is found after training; its output may exceed 1."""

    def forward(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        del threshold
        return current.relu()


class RateNorm(RateMap):
    """Rate-Norm Layer (Ding et al. 2021): ReLU over its running maximum, clipped at 1.

    `peak` moves by a tenth towards the largest value of each training batch.
    """

    peak: Tensor

    def __init__(self, start: float) -> None:
        super().__init__()
        self.register_buffer("peak", torch.tensor(start))

    def forward(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        del threshold
        if self.training:
            with torch.no_grad():
                self.peak.lerp_(current.amax().to(self.peak).clamp(min=0), 0.1)
        return (current / self.peak.clamp(min=1e-6)).clamp(0, 1)


class Clipped(RateMap):
    """clip(current / threshold, 0, 1), in `levels` equal steps if that is above 0.

    The quantised form is that of QCFS (Bu et al. 2022, ICLR): rounded to the nearest level,
    with the gradient of the map that is not rounded, to the threshold too.
    """

    def __init__(self, levels: int = 0) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, current: Tensor, threshold: Tensor | None) -> Tensor:
        assert threshold is not None
        rate = (current / threshold).clamp(0, 1)
        if self.levels == 0:
            return rate
        rounded = (rate.detach() * self.levels + 0.5).floor() / self.levels
        return rate + (rounded - rate.detach())

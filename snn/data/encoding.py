"""Encodings: images as input currents or spikes over time."""

import torch
from torch import Tensor

from snn.data.dataset import normalise, to_unit


def direct(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the normalised image as a constant current: (1, batch, channels, height, width)."""
    return normalise(images, mean, std).unsqueeze(0)


def poisson(images: Tensor, mean: Tensor, *, timesteps: int, generator: torch.Generator) -> Tensor:
    """Return signed random spikes: (time, batch, channels, height, width), in {-1, 0, 1}.

    The spike probability of a grey pixel is its brightness. Of a colour pixel the mean is
    subtracted first; the probability is twice the absolute value of the rest and the spike
    has its sign, so that dark and bright pixels both spike (after Lee et al. 2020).
    """
    values = to_unit(images)
    if values.shape[1] > 1:
        values = (2 * (values - mean.view(1, -1, 1, 1))).clamp(-1, 1)
    draws = torch.rand(
        (timesteps, *values.shape), generator=generator, device=values.device, dtype=values.dtype
    )
    return (draws < values.abs()) * values.sign()

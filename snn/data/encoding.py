"""Encodings: how an image drives a network over time."""

import torch
from torch import Tensor

from snn.data.dataset import normalise, to_unit


def direct(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """The standardised image as a constant current: (1, batch, channels, height, width)."""
    return normalise(images, mean, std).unsqueeze(0)


def poisson(images: Tensor, mean: Tensor, *, timesteps: int, generator: torch.Generator) -> Tensor:
    """Signed random spikes: (time, batch, channels, height, width), values in {-1, 0, 1}.

    Grey images fire with the probability of their brightness. Colour images are
    centred first and fire the sign of what is left with twice its size as
    probability, so that dark and bright both speak (after Lee et al. 2020).
    """
    values = to_unit(images)
    if values.shape[1] > 1:
        values = (2 * (values - mean.view(1, -1, 1, 1))).clamp(-1, 1)
    draws = torch.rand(
        (timesteps, *values.shape), generator=generator, device=values.device, dtype=values.dtype
    )
    return (draws < values.abs()) * values.sign()

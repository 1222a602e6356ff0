"""Rank-order code: the strongest contrasts of an image spike first (Kheradpisheh et al. 2018).

Each channel is filtered by a difference of Gaussians with a bright centre (ON) and its negative
(OFF). Contrasts above a threshold are divided by the mean around them, ranked over the whole
image, and cut into as many equal groups as there are timesteps: rank, not value, is coded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.data.dataset import to_unit
from snn.data.encoding import encoding

CENTRE, SURROUND, WINDOW = 1.0, 2.0, 7  # standard deviations and side, pixels
LEAST_CONTRAST = 50 / 255
AROUND = 17  # side of the window whose mean divides a contrast, pixels


def difference_of_gaussians() -> Tensor:
    """Return the ON filter, (WINDOW, WINDOW): sum 0, largest value 1."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    square = places.view(-1, 1) ** 2 + places**2

    def gaussian(deviation: float) -> Tensor:
        return torch.exp(-square / (2 * deviation**2)) / (2 * torch.pi * deviation**2)

    difference = gaussian(CENTRE) - gaussian(SURROUND)
    difference = difference - difference.mean()
    return difference / difference.max()


def contrasts(values: Tensor) -> Tensor:
    """Return contrasts (batch, 2 x channels, height, width) of pixels from 0 to 1, ON then OFF."""
    channels = values.shape[1]
    filtered = F.conv2d(
        F.pad(values, [WINDOW // 2] * 4, mode="replicate"),
        difference_of_gaussians().to(values).expand(channels, 1, WINDOW, WINDOW),
        groups=channels,
    )
    both = torch.cat([filtered, -filtered], dim=1)
    both = torch.where(both >= LEAST_CONTRAST, both, 0.0)
    around = F.avg_pool2d(both, AROUND, stride=1, padding=AROUND // 2)
    return torch.where(both > 0, both / around.clamp(min=1e-12), 0.0)


@encoding("rank")
def rank(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    timesteps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return one spike per contrast: (time, batch, 2 x channels, height, width).

    The n contrasts of an image are spread over the timesteps in groups that differ by one
    spike at most.
    """
    del mean, std, generator
    strength = contrasts(to_unit(images)).flatten(1)
    order = strength.argsort(dim=1, descending=True, stable=True)
    count = (strength > 0).sum(dim=1, keepdim=True)
    places = torch.arange(strength.shape[1], device=strength.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(1, order, places)
    group = torch.where(ranks < count, ranks * timesteps // count.clamp(min=1), timesteps)
    steps = torch.arange(timesteps, device=strength.device).view(-1, 1, 1)
    spikes = (group == steps).to(strength.dtype)
    side = images.shape[2:]
    return spikes.view(timesteps, len(images), -1, *side)

"""Encodings: images as input currents or spikes over time.

A new encoding is a function marked with `@encoding(name)`, and its name among the choices of
`RunConfig.encoding`.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from snn.data.dataset import normalise, to_unit


class Encode(Protocol):
    """Returns images (batch, channels, height, width) as input over time.

    The result is (time or 1, batch, channels, height, width); `mean` and `std` are those of
    the training images, (channels,).
    """

    def __call__(
        self,
        images: Tensor,
        mean: Tensor,
        std: Tensor,
        *,
        timesteps: int,
        generator: torch.Generator | None,
    ) -> Tensor: ...


ENCODINGS: dict[str, Encode] = {}
"""Encodings by their name in `RunConfig.encoding`."""

ANALOG: set[str] = set()
"""Names of encodings that give real numbers with mean 0 and deviation 1, not spikes."""

CONSTANT: set[str] = set()
"""Names of analog encodings that give one current for all timesteps."""

NOISY: set[str] = set()
"""Names of encodings that draw random numbers."""

Function = TypeVar("Function", bound=Encode)


def encoding(
    name: str, *, is_analog: bool = False, is_constant: bool = False, is_noisy: bool = False
) -> Callable[[Function], Function]:
    """Register an encoding under a name, which is also a choice of `RunConfig.encoding`."""

    def register(encode: Function) -> Function:
        ENCODINGS[name] = encode
        kinds = ((ANALOG, is_analog or is_constant), (CONSTANT, is_constant), (NOISY, is_noisy))
        for names, is_of_kind in kinds:
            if is_of_kind:
                names.add(name)
        return encode

    return register


@encoding("direct", is_constant=True)
def direct(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    timesteps: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the normalised image as a constant current: (1, batch, channels, height, width)."""
    del timesteps, generator
    return normalise(images, mean, std).unsqueeze(0)


@encoding("events")
@encoding("delta")
def events(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    timesteps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Return frames (batch, time, channels, height, width) as they are, time first."""
    del mean, std, timesteps, generator
    return images.transpose(0, 1).to(torch.float32)


@encoding("latency")
def latency(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    timesteps: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return one spike per pixel that is not black: (time, batch, channels, height, width).

    White fires at the first timestep, a brightness x at (1 - x) (time - 1), rounded.
    """
    del mean, std, generator
    values = to_unit(images)
    times = ((1 - values) * (timesteps - 1)).round()
    steps = torch.arange(timesteps, device=values.device, dtype=values.dtype)
    fires = (times == steps.view(-1, 1, 1, 1, 1)) & (values > 0)
    return fires.to(values.dtype)


@encoding("poisson", is_noisy=True)
def poisson(
    images: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    timesteps: int,
    generator: torch.Generator | None,
) -> Tensor:
    """Return signed random spikes: (time, batch, channels, height, width), in {-1, 0, 1}.

    The spike probability of a grey pixel is its brightness. Of a colour pixel the mean is
    subtracted first; the probability is twice the absolute value of the rest and the spike
    has its sign, so that dark and bright pixels both spike (after Lee et al. 2020).
    """
    del std
    values = to_unit(images)
    if values.shape[1] > 1:
        values = (2 * (values - mean.view(1, -1, 1, 1))).clamp(-1, 1)
    draws = torch.rand(
        (timesteps, *values.shape), generator=generator, device=values.device, dtype=values.dtype
    )
    return (draws < values.abs()) * values.sign()

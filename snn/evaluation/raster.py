"""What one image did to a network, spike by spike: plain arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class LayerRaster:
    """The spikes of one layer, of one image, over all trained timesteps."""

    block: int  # from 1
    name: str
    spikes: npt.NDArray[np.bool_]  # (time, neurons)


@dataclass(frozen=True, kw_only=True)
class ImageRaster:
    """One image with every spike that it causes where no exit is taken."""

    number: int  # among the validation images, from 0
    pixels: npt.NDArray[np.uint8]  # (height, width), or (height, width, 3)
    label: int
    layers: tuple[LayerRaster, ...]  # in the order in which a spike meets them
    confidence: npt.NDArray[np.float32]  # (blocks, time): of each exit after each timestep
    said: npt.NDArray[np.int64]  # (blocks, time): the label that it says then

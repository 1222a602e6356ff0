"""All spikes of a network for one image, as numpy arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class LayerRaster:
    """The spikes of one layer for one image, over all trained timesteps."""

    block: int  # from 1
    name: str
    spikes: npt.NDArray[np.bool_]  # (time, neurons)


@dataclass(frozen=True, kw_only=True)
class ImageRaster:
    """One image with all spikes that it causes if no exit is taken."""

    number: int  # among the validation images, from 0
    pixels: npt.NDArray[np.uint8]  # (height, width), or (height, width, 3)
    label: int
    layers: tuple[LayerRaster, ...]  # in forward order
    confidence: npt.NDArray[np.float32]  # (blocks, time): of each exit after each timestep
    predicted: npt.NDArray[np.int64]  # (blocks, time): label of each exit after each timestep
    frames: npt.NDArray[np.int64] | None = None  # of a recording: (time, channels, height, width)
    step_ms: float | None = None  # of a recording whose timesteps have a fixed length

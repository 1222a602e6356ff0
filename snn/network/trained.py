"""A trained network with its history, and the images that it is evaluated on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from snn.data import rank_code  # noqa: F401  # one of the encodings
from snn.data.dataset import Samples
from snn.data.encoding import ENCODINGS
from snn.data.events.clips import Clips
from snn.network.network import Network
from snn.network.seeding import generator
from snn.settings.config import RunConfig

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class History:
    """Memory, time and environment of a training."""

    memory_bytes: tuple[int, ...]  # per stage
    training_s: tuple[float, ...]  # per stage
    parameters: tuple[int, ...]  # per block
    training_ops: tuple[float, ...] = ()  # per stage; empty: not known
    environment: str = ""  # fingerprint, see `snn.training.environment`; "": unknown


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network with folded blocks, and its history."""

    network: Network
    history: History

    @property
    def config(self) -> RunConfig:
        """The run config of the training."""
        return self.network.config


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images, uint8 (images, channels, height, width), or recordings."""

    images: Samples
    labels: Tensor
    mean: Tensor
    std: Tensor

    def seen_ms(self, config: RunConfig) -> npt.NDArray[np.float64]:
        """Return the time of each recording that is known after each timestep, (time, images).

        Bins of no fixed length need the whole recording; images have no time, which is NaN.
        """
        shape = (config.timesteps, len(self.labels))
        if not isinstance(self.images, Clips):
            return np.full(shape, np.nan)
        if config.step_ms is None:
            return np.broadcast_to(self.images.lengths_ms, shape)
        steps = np.arange(1, config.timesteps + 1) * config.step_ms
        return np.broadcast_to(steps[:, None], shape)

    def batches(self, config: RunConfig) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield drives (time or 1, batch, ...) and labels, always in one order with one noise."""
        draws = generator(config.seed, "evaluation", 0, str(self.labels.device))
        pairs = zip(self.images.split(BATCH), self.labels.split(BATCH), strict=True)
        for images, labels in pairs:
            yield encode(images, config, mean=self.mean, std=self.std, draws=draws), labels


def encode(
    images: Tensor, config: RunConfig, *, mean: Tensor, std: Tensor, draws: Generator | None
) -> Tensor:
    """Return images as the config encodes them: (time or 1, batch, channels, height, width)."""
    chosen = ENCODINGS[config.encoding]
    steps = config.input_steps
    drive = chosen(images, mean, std, timesteps=steps, generator=draws)
    if steps < config.timesteps:
        silent = drive.new_zeros(config.timesteps - steps, *drive.shape[1:])
        drive = torch.cat([drive, silent])
    return drive

"""A trained network with its history, and the images that it is judged on."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from snn.data import encoding
from snn.network.blocks import generator
from snn.network.network import Network
from snn.settings.config import RunConfig

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class History:
    """What training left behind besides the weights."""

    memory_bytes: tuple[int, ...]  # per stage
    training_s: tuple[float, ...]  # per stage
    parameters: tuple[int, ...]  # per block
    origin: str = ""  # name of the environment, see `snn.training.environment`; "": unknown


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network with folded blocks, and its history."""

    network: Network
    history: History

    @property
    def config(self) -> RunConfig:
        """The run config that it was trained by."""
        return self.network.config


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images as they come, uint8 (images, channels, height, width)."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor

    def batches(self, config: RunConfig) -> Iterator[tuple[Tensor, Tensor]]:
        """Drives and labels, always in the same order and with the same noise."""
        draws = generator(config.seed, "evaluation", 0, str(self.images.device))
        pairs = zip(self.images.split(BATCH), self.labels.split(BATCH), strict=True)
        for images, labels in pairs:
            if config.encoding == "direct":
                yield encoding.direct(images, self.mean, self.std), labels
            else:
                steps = config.timesteps
                yield (
                    encoding.poisson(images, self.mean, timesteps=steps, generator=draws),
                    labels,
                )

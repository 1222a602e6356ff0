"""A trained network run once more on labelled images, to be asked anything about that run."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn.evaluation.evaluate import exit_reports
from snn.evaluation.operating_points import Decisions, OperatingPointEvaluator, OperatingSetting
from snn.evaluation.raster import ImageRaster, LayerRaster
from snn.evaluation.recording import record
from snn.network.blocks import layers_of
from snn.network.layers import Connections, ForwardContext, Layer
from snn.network.trained import BATCH, Images, Trained
from snn.settings.measurement import ExitReport, OperatingPoint


class Replay:
    """One pass over the images; every operating point is counted from it, exactly.

    A setting is `timesteps` to run, `exit_thresholds` for the exits before the last of the
    blocks that are kept, and the `detector_threshold`.
    """

    def __init__(self, trained: Trained, images: Images) -> None:
        self._trained, self._images = trained, images
        self._recording = record(trained.network, images)
        self._counter = OperatingPointEvaluator(trained, self._recording)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The right label of every image."""
        return self._recording.labels

    @property
    def depths(self) -> range:
        """How many blocks may be kept."""
        return self._counter.depths()

    def point(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> OperatingPoint:
        """What the network achieves and costs at a setting."""
        return self._counter.point(_setting(timesteps, exit_thresholds, detector_threshold))

    def exits(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> tuple[ExitReport, ...]:
        """What each class did at each exit."""
        setting = _setting(timesteps, exit_thresholds, detector_threshold)
        return tuple(exit_reports(self._trained.network, self._counter, setting))

    def decisions(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> Decisions:
        """What was decided about each image, where, and at what cost."""
        return self._counter.decisions(_setting(timesteps, exit_thresholds, detector_threshold))

    @torch.no_grad()
    def raster(self, number: int) -> ImageRaster:
        """Every spike that image `number` causes, all blocks and timesteps.

        Its whole batch is run, so that sums round as they did in the pass, and noise is the same.
        """
        network, config = self._trained.network, self._trained.config
        batch, place = divmod(number, BATCH)
        drives = self._images.batches(config)
        drive, _ = next(pair for index, pair in enumerate(drives) if index == batch)
        watch = _Watch(place)
        network.eval()
        network.run(drive, ForwardContext(observer=watch), timesteps=config.timesteps)
        layers = tuple(
            LayerRaster(block=index + 1, name=layer.name, spikes=watch.spikes(layer))
            for index in range(len(network.blocks))
            for layer in layers_of(network.block(index))
        )
        return ImageRaster(
            number=number,
            pixels=_pixels(self._images.images[number]),
            label=int(self.labels[number]),
            layers=layers,
            confidence=self._recording.confidence[:, :, number],
            said=self._recording.label[:, :, number],
        )


class _Watch:
    """Keeps the spikes of one image of a batch, as an Observer."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._chunks: dict[Layer, list[Tensor]] = {}

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        del inputs
        own = spikes[:, self._place].flatten(1) != 0
        self._chunks.setdefault(layer, []).append(own.cpu())

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        del connections, inputs

    def spikes(self, layer: Layer) -> npt.NDArray[np.bool_]:
        """(time, neurons) of a layer."""
        found: npt.NDArray[np.bool_] = torch.cat(self._chunks[layer]).numpy()
        return found


def _setting(
    timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
) -> OperatingSetting:
    return OperatingSetting(
        timesteps=timesteps,
        exit_thresholds=tuple(exit_thresholds),
        detector_threshold=detector_threshold,
    )


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """(channels, height, width) as people look at it."""
    values = image.cpu().numpy()
    plain: npt.NDArray[np.uint8] = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    return plain

"""Replay: one recorded run of a trained network, evaluated at any operating point."""

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
from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.trained import BATCH, Images, Trained
from snn.settings.measurement import ExitReport, OperatingPoint


class Replay:
    """One pass over the images, from which every operating point is computed exactly.

    A setting has `timesteps`, `exit_thresholds` of the exits before the last used block, the
    `detector_threshold`, and the `time_threshold`; 1 answers after all timesteps.
    """

    def __init__(self, trained: Trained, images: Images) -> None:
        self._trained, self._images = trained, images
        self._recording = record(trained.network, images)
        self._evaluator = OperatingPointEvaluator(trained, self._recording)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of every image."""
        return self._recording.labels

    @property
    def depths(self) -> range:
        """The numbers of blocks that can be used."""
        return self._evaluator.depths()

    def point(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> OperatingPoint:
        """Return the metrics at a setting."""
        return self._evaluator.point(
            _setting(timesteps, exit_thresholds, detector_threshold, time_threshold)
        )

    def exits(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> tuple[ExitReport, ...]:
        """Return the images of each class at each exit."""
        setting = _setting(timesteps, exit_thresholds, detector_threshold, time_threshold)
        return tuple(exit_reports(self._trained.network, self._evaluator, setting))

    def decisions(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> Decisions:
        """Return predicted label, exit and cost of each image."""
        return self._evaluator.decisions(
            _setting(timesteps, exit_thresholds, detector_threshold, time_threshold)
        )

    @torch.no_grad()
    def raster(self, number: int) -> ImageRaster:
        """Return all spikes that image `number` (from 0) causes, all blocks and timesteps.

        The whole batch of the image is run, so that rounding and noise equal those of the pass.
        """
        network, config = self._trained.network, self._trained.config
        batch, place = divmod(number, BATCH)
        drives = self._images.batches(config)
        drive, _ = next(pair for index, pair in enumerate(drives) if index == batch)
        recorder = _SpikeRecorder(place)
        network.eval()
        network.run(drive, ForwardContext(observer=recorder), timesteps=config.timesteps)
        layers = tuple(
            LayerRaster(block=index + 1, name=layer.name, spikes=recorder.spikes(layer))
            for index in range(len(network.blocks))
            for layer in layers_of(network.block(index))
        )
        image = self._images.images[number]
        is_clip = image.dim() == 4
        return ImageRaster(
            number=number,
            pixels=_pixels(image),
            frames=image.cpu().numpy().astype(np.int64) if is_clip else None,
            step_ms=config.step_ms if is_clip else None,
            label=int(self.labels[number]),
            layers=layers,
            confidence=self._recording.confidence[:, :, number],
            predicted=self._recording.label[:, :, number],
        )


class _SpikeRecorder:
    """Observer that keeps the spikes of one image of a batch."""

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
        """Return the spikes of a layer, (time, neurons)."""
        found: npt.NDArray[np.bool_] = torch.cat(self._chunks[layer]).numpy()
        return found


def _setting(
    timesteps: int,
    exit_thresholds: Sequence[float],
    detector_threshold: float,
    time_threshold: float,
) -> OperatingSetting:
    return OperatingSetting(
        timesteps=timesteps,
        exit_thresholds=tuple(exit_thresholds),
        detector_threshold=detector_threshold,
        time_threshold=time_threshold,
    )


def _pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """Return an image (channels, height, width) as (height, width) or (height, width, 3).

    Of a recording (time, channels, height, width) the sum over time and polarities, the
    largest one as white.
    """
    values = image.cpu().numpy()
    if values.ndim == 4:
        total = np.abs(values.astype(np.int64)).sum(axis=(0, 1))
        summed: npt.NDArray[np.uint8] = (255 * total // max(total.max(), 1)).astype(np.uint8)
        return summed
    plain: npt.NDArray[np.uint8] = values[0] if len(values) == 1 else values.transpose(1, 2, 0)
    return plain

"""A new evaluation of a trial's network, for every image, exit and spike."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from search.export.export import checked_weights, weights_problem
from search.export.folder import ExportError
from search.study.study import StudyError, study_from_toml
from snn.evaluation.raster import ImageRaster
from snn.settings.measurement import ExitReport, OperatingPoint

if TYPE_CHECKING:
    from search.store.store import Store


class ReplayError(ValueError):
    """A trial that cannot be evaluated again; the message is one line."""


@runtime_checkable
class Decided(Protocol):
    """The results of each image at one operating point; arrays have shape (images,)."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Predicted labels."""

    @property
    def exits(self) -> npt.NDArray[np.int64]:
        """Exits taken, from 1."""

    @property
    def spikes(self) -> npt.NDArray[np.float64]:
        """Spikes until the image exits."""

    @property
    def timesteps(self) -> npt.NDArray[np.int64]:
        """Timesteps until the answer."""


@runtime_checkable
class Replay(Protocol):
    """One pass over the validation images, from which every operating point is computed.

    A setting has `timesteps` to run, `exit_thresholds` of all exits but the last of the
    blocks used, the `detector_threshold`, and the `time_threshold`.
    """

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Correct labels, shape (images,)."""

    @property
    def depths(self) -> range:
        """Possible numbers of blocks."""

    def point(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> OperatingPoint:
        """Return the metrics of the network at a setting."""

    def exits(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> tuple[ExitReport, ...]:
        """Return images and correct predictions per class and exit."""

    def decisions(
        self,
        timesteps: int,
        exit_thresholds: Sequence[float],
        detector_threshold: float,
        time_threshold: float = 1.0,
    ) -> Decided:
        """Return prediction, exit and spikes of each image."""

    def raster(self, number: int) -> ImageRaster:
        """Return every spike that image `number` causes in all blocks and timesteps."""


def replay(store: "Store", study: str, number: int, *, data_dir: Path) -> Replay:
    """Run the network of a trial on its validation images.

    Raises ReplayError for weights or a data set that are missing or changed, StoreError
    for an unknown trial.
    """
    from search.worker import engine
    from snn.data.image_files import DataError

    trial = store.trial(study, number)
    if problem := weights_problem(trial):
        raise ReplayError(problem)
    assert trial.engine_config is not None
    assert trial.artifact is not None
    threads = _threads(store.stored_study(study).toml)
    try:
        with checked_weights(trial, trial.artifact) as weights:
            return engine.replay(trial.engine_config, weights, data_dir=data_dir, threads=threads)
    except (ExportError, DataError, engine.unreadable()) as error:
        raise ReplayError(" ".join(str(error).split())) from None


def _threads(toml: str) -> int:
    """Return the threads of the trial's evaluation: as many threads round sums alike."""
    try:
        return max(1, int(study_from_toml(toml).budget.cpus_per_trial))
    except StudyError:  # the study file of another version
        return 1


__all__ = ["Decided", "Replay", "ReplayError", "replay"]

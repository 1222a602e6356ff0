"""A trial's network run once more on its validation images, to be looked at closely."""

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
    """A trial that cannot be run once more; one line that says why."""


@runtime_checkable
class Decided(Protocol):
    """What was decided about each image at one operating point; arrays are (images,)."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label decided."""

    @property
    def exits(self) -> npt.NDArray[np.int64]:
        """The exit taken, from 1."""

    @property
    def spikes(self) -> npt.NDArray[np.float64]:
        """Spikes until it left."""


@runtime_checkable
class Replay(Protocol):
    """One pass over the validation images, from which every operating point is counted.

    A setting is `timesteps` to run, `exit_thresholds` for the exits before the last of the
    blocks that are kept, and the `detector_threshold`.
    """

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The right label of every image."""

    @property
    def depths(self) -> range:
        """How many blocks may be kept."""

    def point(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> OperatingPoint:
        """What the network achieves and costs at a setting."""

    def exits(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> tuple[ExitReport, ...]:
        """What each class did at each exit."""

    def decisions(
        self, timesteps: int, exit_thresholds: Sequence[float], detector_threshold: float
    ) -> Decided:
        """What was decided about each image, and where."""

    def raster(self, number: int) -> ImageRaster:
        """Every spike that image `number` causes, all blocks and timesteps."""


def replay(store: "Store", study: str, number: int, *, data_dir: Path) -> Replay:
    """The network of a trial, run on its validation images; takes as long as they do.

    Raises ReplayError where the weights or the data set are missing or changed, StoreError
    for a trial that is not there.
    """
    from search.worker import engine
    from snn.data.image_files import DataError

    trial = store.trial(study, number)
    if problem := weights_problem(trial):
        raise ReplayError(problem)
    assert trial.config is not None
    assert trial.artifact is not None
    threads = _threads(store.stored_study(study).toml)
    try:
        with checked_weights(trial, trial.artifact) as weights:
            return engine.replay(trial.config, weights, data_dir=data_dir, threads=threads)
    except (ExportError, DataError, engine.unreadable()) as error:
        raise ReplayError(" ".join(str(error).split())) from None


def _threads(toml: str) -> int:
    """As many as the trial was evaluated with, so that sums round as they did."""
    try:
        return max(1, int(study_from_toml(toml).budget.cpus_per_trial))
    except StudyError:  # of another version
        return 1


__all__ = ["Decided", "Replay", "ReplayError", "replay"]

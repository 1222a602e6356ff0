"""What a strategy is replayed on: recorded trainings, or computed ones."""

from collections.abc import Mapping
from typing import Any, Protocol

from search.study.study import Study
from search.trial.trial import Params
from snn.settings.measurement import OperatingPoint


class Problem(Protocol):
    """Every training of a study's space, epoch by epoch.

    A chain names the blocks that are trained one after another, like `1+2`: its last block is
    trained behind the others. A setting is everything else that the training depends on, so that
    blocks of equal chains and settings are the same blocks. Epochs count from 1 within the last
    block of a chain.
    """

    study: Study
    epochs: int  # of each block

    @property
    def about(self) -> str:
        """How much there is to search."""

    @property
    def made_by(self) -> Mapping[str, str]:
        """What made the measurements, for the page."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The exit thresholds of the space, for each exit."""

    @property
    def longest(self) -> int:
        """Epochs of the longest training."""

    @property
    def mean_epochs(self) -> float:
        """Epochs of a training, on average over the space."""

    def reference(self, kind: str) -> dict[str, float]:
        """Return the reference of the hypervolume: `default` or `typical`, by objective."""

    def place(self, params: Params) -> tuple[Any, str]:
        """Return setting and chain of a configuration."""

    def length(self, setting: Any, chain: str) -> int:
        """Return the epochs of the chain's last block until it diverged, or all."""

    def accuracy(self, setting: Any, chain: str, epoch: int) -> float:
        """Return the validation accuracy of an epoch."""

    def sampled(
        self, setting: Any, chain: str, epoch: int, thresholds: tuple[float, ...]
    ) -> OperatingPoint:
        """Return the network at exit thresholds of the space."""

    @property
    def family(self) -> Any:
        """A function of setting, chain, epoch: the non-dominated operating points."""

"""Confirmation: members of a front retrained with other seeds and run on the test images."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search.trial.trial import TrialState
from snn.settings.measurement import METRICS


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One retraining with one seed, run on the test images at the operating point."""

    seed: int
    state: TrialState  # COMPLETE, or PRUNED or FAILED with the reason
    training_fingerprint: str  # of the training, and name of its weights file
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the test images, for COMPLETE
    images: int | None = None  # test images
    reason: str = ""
    error: str = ""  # traceback, for FAILED

    @property
    def is_settled(self) -> bool:
        """Whether another run would give the same; a crash may have another cause."""
        return self.state in (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation (n - 1) over seeds; NaN from fewer than two."""

    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The confirmation runs of one operating point."""

    runs: tuple[SeedRun, ...]  # by seed

    @property
    def complete(self) -> tuple[SeedRun, ...]:
        """The runs with metrics."""
        return tuple(run for run in self.runs if run.state is TrialState.COMPLETE)

    @property
    def seeds(self) -> int:
        """Number of seeds with metrics."""
        return len(self.complete)

    @property
    def seeds_lost(self) -> int:
        """Number of seeds whose training diverged or crashed; no mean includes them."""
        return len(self.runs) - self.seeds

    @property
    def images(self) -> int | None:
        """Number of test images."""
        return next((run.images for run in self.complete), None)

    def spread(self, metric: str) -> Spread:
        """Return mean and standard deviation of a metric over the complete runs."""
        return spread_of([run.metrics.get(metric, math.nan) for run in self.complete])

    def spreads(self) -> dict[str, Spread]:
        """Return mean and standard deviation of every metric."""
        reported = (name for run in self.complete for name in run.metrics)
        return {name: self.spread(name) for name in dict.fromkeys((*METRICS, *reported))}


def spread_of(values: Sequence[float]) -> Spread:
    """Return mean and sample standard deviation of `values`."""
    if not values or any(not math.isfinite(value) for value in values):
        return Spread(mean=math.nan, std=math.nan)
    std = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(mean=statistics.fmean(values), std=std)


def confirmed_document(confirmed: Confirmed | None) -> dict[str, object] | None:
    """Return a confirmation for JSON."""
    if confirmed is None:
        return None
    return {
        "seeds": [run.seed for run in confirmed.complete],
        "seeds_lost": confirmed.seeds_lost,
        "images": confirmed.images,
        "metrics": confirmed.spreads(),
        "runs": confirmed.runs,
    }

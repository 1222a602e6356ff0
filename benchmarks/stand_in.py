"""An engine that trains nothing and takes a known time; Ray's workers import it too.

What it reports is of the size of the real thing: an epoch's measurement, a
family of operating points over all metrics, layers, exits, an artifact. The
figures follow from the config alone and trade off against each other as those
of real networks do, so that fronts have hundreds of members.
"""

import dataclasses
import math
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from search.study.study import Bound
from search.trial.trial import Artifact, Outcome, Timings, TrialState
from search.worker.job import BlockFolder
from snn.settings.config import RunConfig
from snn.settings.measurement import (
    METRICS,
    Evaluation,
    ExitReport,
    LayerReport,
    Measurement,
    OperatingPoint,
)

STUDY = """
name = "{name}"
objectives = ["accuracy", "synaptic_ops", "model_bytes"]
[budget]
trials = {trials}
workers = {workers}
[run]
backbone = "resnet7"
epochs = {epochs}
[space]
partition = {{ max_blocks = 3 }}
exit_threshold = {{ low = 0.5, high = 0.99 }}
dropout = {{ low = 0.0, high = 0.3, step = 0.05 }}
timesteps = {{ low = 2, high = 16 }}
target_sparsity = {{ low = 0.5, high = 0.98 }}
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
width = {{ low = 4, high = 64 }}
[search]
sampler = "{sampler}"
reuse_blocks = false
"""
FAMILY = 20  # operating points of each network


def study_text(
    *, trials: int, sampler: str = "auto", workers: int = 1, epochs: int = 1, name: str = "scale"
) -> str:
    """A study over the five axes, width and learning rate, with three objectives."""
    return STUDY.format(trials=trials, sampler=sampler, workers=workers, epochs=epochs, name=name)


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """Sleeps `seconds` in each trial, and reports a family of points.

    With `front_of` objectives all points of all trials are on the front over these.
    """

    seconds: float = 0.0
    front_of: tuple[str, ...] = ()

    def __call__(
        self,
        config: RunConfig,
        *,
        data_dir: Path,
        device: str,
        threads: int,
        weights_path: Path | None,
        constraints: Mapping[str, Bound],
        reuse: Path | None,
        blocks: BlockFolder | None,
        **_: object,
    ) -> "StandInRun":
        return StandInRun(config, self.seconds, weights_path, self.front_of)


class StandInRun:
    """One trial: a measurement for each epoch, then its outcome."""

    def __init__(
        self,
        config: RunConfig,
        seconds: float,
        weights: Path | None,
        front_of: tuple[str, ...] = (),
    ) -> None:
        self._config, self._seconds, self._weights = config, seconds, weights
        self._front_of = front_of

    def __iter__(self) -> Iterator[Measurement]:
        total = self._config.total_epochs
        for epoch in range(1, total + 1):
            time.sleep(self._seconds / total)
            yield measurement(epoch, total)

    @property
    def outcome(self) -> Outcome:
        """What came of the trial."""
        artifact = None
        if self._weights is not None:
            artifact = Artifact(uri=str(self._weights), sha256="0" * 64, size_bytes=100_000)
        return Outcome(
            state=TrialState.COMPLETE,
            evaluation=evaluation(self._config, self._front_of),
            timings=Timings(training_s=self._seconds, evaluation_s=0.0),
            artifact=artifact,
        )


def measurement(epoch: int, total: int) -> Measurement:
    """What an epoch showed."""
    return Measurement(
        block=0,
        epoch=epoch,
        epochs_done=epoch,
        epochs_total=total,
        loss=1 / epoch,
        train_accuracy=0.5,
        accuracy=0.5,
        connectivity=1.0,
        spike_rate=0.1,
        regrown=0,
        training_memory_bytes=1_000_000,
        wall_s=0.0,
    )


def evaluation(config: RunConfig, front_of: tuple[str, ...] = ()) -> Evaluation:
    """A family of points of decreasing cost, and what else an evaluation says."""
    draw = random.Random(config.fingerprint)
    blocks = config.exits
    points = [_point(config, place, draw) for place in range(FAMILY)]
    if front_of:
        points = [_on_a_sphere(point, front_of, draw) for point in points]
    layers = [
        LayerReport(
            block=1 + place * blocks // 7,
            name=f"layer{place}",
            neurons=1000,
            weights=10_000,
            connections=5_000,
            spikes_per_inference=100.0,
            spike_rate=0.1,
            synaptic_ops=1e4,
            macs=0.0,
        )
        for place in range(7)
    ]
    exits = [
        ExitReport(exit=number + 1, label=label, images=30, correct=29, is_hard=False)
        for number in range(blocks)
        for label in range(10)
    ]
    return Evaluation(
        points=tuple(points),
        layers=tuple(layers),
        exits=tuple(exits),
        points_evaluated=400,
        wall_s=0.01,
        images=288,
    )


def _on_a_sphere(
    point: OperatingPoint, objectives: tuple[str, ...], draw: random.Random
) -> OperatingPoint:
    """Return the point with objectives on a sphere around the worst corner: none dominates."""
    gains = [draw.gammavariate(1, 1) for _ in objectives]
    values = {}
    for name, gain in zip(objectives, gains, strict=True):
        gained = math.sqrt(gain / sum(gains))  # 0 to 1, the squares add up to 1
        values[name] = gained if METRICS[name].better == "higher" else 1 - gained
    return dataclasses.replace(point, metrics={**point.metrics, **values})


def _point(config: RunConfig, place: int, draw: random.Random) -> OperatingPoint:
    share = 1 - place / FAMILY  # of timesteps and blocks that are run
    size = config.width**2 * (1 - config.target_sparsity)
    ops = 1e3 * size * config.timesteps * share * draw.uniform(0.8, 1.2)
    skill = 1 - 0.3 / math.log1p(size) - 0.1 / (1 + config.timesteps * share)
    skill -= 0.05 * abs(math.log10(config.learning_rate) + 2) + 0.1 * config.dropout
    metrics = dict.fromkeys(METRICS, 1.0)
    metrics["accuracy"] = min(max(skill + draw.gauss(0, 0.02), 0.1), 0.999)
    metrics["synaptic_ops"] = ops
    metrics["model_bytes"] = 40 * size * (1 - 0.2 * (place % 3))
    metrics["est_energy_nj"] = ops * 0.9e-3
    return OperatingPoint(
        timesteps=max(1, round(config.timesteps * share)),
        exit_thresholds=tuple(config.exit_threshold[: config.exits - 1]),
        detector_threshold=0.5,
        blocks=config.exits,
        metrics=metrics,
        is_sampled=place == 0,
    )

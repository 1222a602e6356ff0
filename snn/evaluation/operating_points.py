"""Operating points, counted from a recording and not run."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from snn.evaluation.recording import Floats, Recording
from snn.network.blocks import Block, connections_of, layers_of
from snn.network.cost import model_bytes
from snn.network.layers import Connections
from snn.network.trained import Trained
from snn.settings.config import RunConfig
from snn.settings.measurement import METRICS, OperatingPoint, energy_nj

KEPT_POINTS = 64  # operating points kept of one network
THRESHOLDS_PER_EXIT = {1: 33, 2: 17, 3: 9, 4: 5}  # by exits before the last; 3 beyond
DETECTOR_THRESHOLDS = (0.05, 0.2, 0.5, 0.8)


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What a network decided at one operating point, per image."""

    labels: npt.NDArray[np.int64]  # decided
    exits: npt.NDArray[np.int64]  # exit taken, from 1
    accumulates: Floats
    spikes: Floats


@dataclass(frozen=True, kw_only=True)
class OperatingSetting:
    """An operating point before it is counted."""

    timesteps: int
    exit_thresholds: tuple[float, ...]  # for the exits before the last of `depth` blocks
    detector_threshold: float

    @property
    def depth(self) -> int:
        """Blocks that are kept."""
        return len(self.exit_thresholds) + 1


class OperatingPointEvaluator:
    """Counts operating points of one recording."""

    def __init__(self, trained: Trained, recording: Recording) -> None:
        self.trained, self.recording = trained, recording
        self.images = len(recording.labels)
        self.evaluated = 0
        network = trained.network
        self._layers = np.cumsum([len(layers_of(block)) for block in network.blocks])
        self._fixed = {depth: self._fixed_metrics(depth) for depth in self.depths()}

    def depths(self) -> range:
        """Prefixes that are networks of their own: any when trained block by block."""
        blocks = len(self.trained.network.blocks)
        return range(1 if self.trained.config.space_rule == "block-local" else blocks, blocks + 1)

    def _fixed_metrics(self, depth: int) -> dict[str, float]:
        """What does not depend on thresholds and timesteps."""
        history = self.trained.history
        blocks = [self.trained.network.block(index) for index in range(depth)]
        stages = depth if self.trained.config.space_rule == "block-local" else 1
        weights = _kept_connections(blocks)
        possible = sum(conn.weight.numel() for conn in weights)
        alive = sum(int(torch.count_nonzero(conn.weight)) for conn in weights)
        detector = blocks[-1].head.detector
        blocks[-1].head.detector = None  # nothing comes after the last block
        stored = model_bytes(blocks)
        blocks[-1].head.detector = detector
        return {
            "training_memory_bytes": float(max(history.memory_bytes[:stages])),
            "model_bytes": float(stored),
            "connectivity": alive / possible,
            "parameters": float(sum(history.parameters[:depth])),
            "training_s": sum(history.training_s[:stages]),
        }

    def leaving(self, setting: OperatingSetting) -> list[npt.NDArray[np.bool_]]:
        """Per exit of the setting, which images leave there."""
        step = setting.timesteps - 1
        staying = np.ones(self.images, dtype=bool)
        left = []
        for index, threshold in enumerate(setting.exit_thresholds):
            sure = self._sure(index, step, threshold, setting.detector_threshold)
            left.append(staying & sure)
            staying = staying & ~sure
        return [*left, staying]

    def _sure(
        self, index: int, step: int, threshold: float, detector_threshold: float
    ) -> npt.NDArray[np.bool_]:
        if threshold >= 1:  # also when a confidence has been rounded to 1
            return np.zeros(self.images, dtype=bool)
        confidence = self.recording.confidence[index, step]
        hardness = self.recording.hardness[index, step]
        sure: npt.NDArray[np.bool_] = (confidence >= np.float32(threshold)) & (
            hardness <= np.float32(detector_threshold)
        )
        return sure

    def _costs(self, timesteps: int, depth: int) -> list[Floats]:
        """Per exit, what an image that leaves there has brought and spent: (images, 5)."""
        rec, step = self.recording, timesteps - 1
        costs = []
        spent = np.zeros((2, self.images))
        for index in range(depth):
            spent = spent + np.stack([rec.accumulates[index, step], rec.spikes[index, step]])
            if index + 1 < depth:
                spent = spent + np.stack([rec.detector[index, step], np.zeros(self.images)])
            columns = [
                (rec.label[index, step] == rec.labels).astype(np.float64),
                *spent,
                np.full(self.images, float(rec.macs[: index + 1].sum())),
                np.full(self.images, float(timesteps * self._layers[index])),
                np.full(self.images, index + 1.0),
            ]
            costs.append(np.stack(columns, axis=1))
        return costs

    def _metrics(self, sums: Floats, timesteps: int, depth: int) -> dict[str, float]:
        mean = sums / self.images
        values = {
            "accuracy": mean[0],
            "synaptic_ops": mean[1],
            "spikes_per_inference": mean[2],
            "macs": mean[3],
            "latency_steps": mean[4],
            "mean_blocks": mean[5],
            "mean_timesteps": float(timesteps),
            "est_energy_nj": energy_nj(mean[1], mean[3]),
            **self._fixed[depth],
        }
        return {name: float(values[name]) for name in METRICS}

    def point(self, setting: OperatingSetting, *, is_sampled: bool = False) -> OperatingPoint:
        """One operating point."""
        self.evaluated += 1
        costs = self._costs(setting.timesteps, setting.depth)
        left = self.leaving(setting)
        sums = sum(gone.astype(np.float64) @ cost for gone, cost in zip(left, costs, strict=True))
        assert isinstance(sums, np.ndarray)
        return OperatingPoint(
            timesteps=setting.timesteps,
            exit_thresholds=setting.exit_thresholds,
            detector_threshold=setting.detector_threshold,
            blocks=setting.depth,
            metrics=self._metrics(sums, setting.timesteps, setting.depth),
            is_sampled=is_sampled,
        )

    def decisions(self, setting: OperatingSetting) -> Decisions:
        """What running the setting would give, per image."""
        rec, step = self.recording, setting.timesteps - 1
        left, costs = self.leaving(setting), self._costs(setting.timesteps, setting.depth)
        exits = np.select(left, list(range(1, setting.depth + 1)))
        return Decisions(
            labels=np.select(left, [rec.label[index, step] for index in range(setting.depth)]),
            exits=exits,
            accumulates=np.select(left, [cost[:, 1] for cost in costs]),
            spikes=np.select(left, [cost[:, 2] for cost in costs]),
        )

    def family(self) -> Iterator[OperatingPoint]:
        """Points over all depths, timesteps, detector thresholds and a grid of exit thresholds."""
        config = self.trained.config
        detector = detector_thresholds(config)
        for depth in self.depths():
            hardness = detector if depth > 1 else [config.detector_threshold]
            for timesteps, limit in itertools.product(range(1, config.timesteps + 1), hardness):
                yield from self._grid(depth, timesteps, limit)

    def _grid(self, depth: int, timesteps: int, limit: float) -> Iterator[OperatingPoint]:
        """All combinations of exit thresholds at once: rows of `staying` are combinations."""
        costs = self._costs(timesteps, depth)
        choices = [self._thresholds(index, timesteps, depth) for index in range(depth - 1)]
        staying = np.ones((1, self.images))
        sums = np.zeros((1, costs[0].shape[1]))
        for index, thresholds in enumerate(choices):
            sure = np.stack([self._sure(index, timesteps - 1, t, limit) for t in thresholds])
            gone = (staying[:, None, :] * sure[None]).reshape(-1, self.images)
            sums = np.repeat(sums, len(thresholds), axis=0) + gone @ costs[index]
            staying = (staying[:, None, :] * ~sure[None]).reshape(-1, self.images)
        sums = sums + staying @ costs[-1]
        for row, combination in zip(sums, itertools.product(*choices), strict=True):
            self.evaluated += 1
            yield OperatingPoint(
                timesteps=timesteps,
                exit_thresholds=combination,
                detector_threshold=limit,
                blocks=depth,
                metrics=self._metrics(row, timesteps, depth),
            )

    def _thresholds(self, index: int, timesteps: int, depth: int) -> list[float]:
        """Quantiles of the confidence at an exit: between them nothing changes much."""
        count = THRESHOLDS_PER_EXIT.get(depth - 1, 3)
        confidence = self.recording.confidence[index, timesteps - 1]
        quantiles = np.quantile(confidence, np.linspace(0, 1, count - 1))
        return sorted({*(round(float(q), 6) for q in quantiles), 1.0})


def detector_thresholds(config: RunConfig) -> list[float]:
    """The config's own threshold and others that tell its detector's answers apart."""
    own = config.detector_threshold
    if config.detector == "none":
        return [own]
    if config.detector == "predicted":  # says 0 or 1: the rule holds below 1, and not at 1
        return [own, 1.0] if own < 1 else [0.0, own]
    return sorted({own, *DETECTOR_THRESHOLDS})


def _kept_connections(blocks: Sequence[Block]) -> list[Connections]:
    """Connections of a prefix: the last block's detector is of no use."""
    last = blocks[-1].head.detector
    return [
        conn
        for block in blocks
        for conn in connections_of(block)
        if last is None or conn is not last.connections
    ]


def keep(points: Sequence[OperatingPoint], bound: int = KEPT_POINTS) -> list[OperatingPoint]:
    """The first point, and of the others those that no point dominates, at most `bound`.

    Where there are more, those that lie farthest apart in accuracy, operations,
    latency and size stay, the best of every metric first.
    """
    values = np.array([[m.sign * p.metrics[n] for n, m in METRICS.items()] for p in points])
    front = _nondominated(values)
    chosen = [0, *(index for index in front if index != 0)]
    if len(chosen) <= bound:
        return [points[index] for index in chosen]
    view = np.array([_position(points[index]) for index in chosen])
    span = view.max(axis=0) - view.min(axis=0)
    view = (view - view.min(axis=0)) / np.where(span > 0, span, 1)
    best = [0, *dict.fromkeys(int(index) for index in values[chosen].argmin(axis=0))]
    order = list(dict.fromkeys(best))
    distance = np.min([np.linalg.norm(view - view[index], axis=1) for index in order], axis=0)
    while len(order) < bound and distance.max() > 0:
        farthest = int(distance.argmax())
        order.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(view - view[farthest], axis=1))
    return [points[chosen[index]] for index in sorted(order[:bound])]


def _position(point: OperatingPoint) -> list[float]:
    metrics = point.metrics
    return [
        metrics["accuracy"],
        math.log1p(metrics["synaptic_ops"]),
        math.log1p(metrics["latency_steps"]),
        math.log1p(metrics["model_bytes"]),
    ]


def _nondominated(values: Floats) -> list[int]:
    """Rows that no other row dominates (lower is better); of equal rows the first."""
    varying = values[:, np.ptp(values, axis=0) > 0]
    if varying.shape[1] == 0:
        return [0]
    _, first = np.unique(varying, axis=0, return_index=True)
    # a row can only be dominated by one whose ranks are lower in sum
    ranks = np.array([np.unique(column, return_inverse=True)[1] for column in varying.T]).sum(
        axis=0
    )
    order = first[np.argsort(ranks[first], kind="stable")].tolist()
    front = np.empty((0, varying.shape[1]))
    kept: list[int] = []
    for index in order:
        row = varying[index]
        if not (front <= row).all(axis=1).any():
            front = np.vstack([front, row])
            kept.append(index)
    return sorted(kept)

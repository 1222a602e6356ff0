"""Metrics of operating points, computed from a recording without running the network."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from snn.evaluation.recording import Floats, Recording
from snn.network.blocks import Block, connections_of, layers_of
from snn.network.connections import Connections
from snn.network.cost import model_bytes
from snn.network.trained import Trained
from snn.settings.config import RunConfig
from snn.settings.datasets import is_recorded
from snn.settings.measurement import METRICS, OperatingPoint, energy_nj

KEPT_POINTS = 64  # most operating points stored of one network
THRESHOLDS_PER_EXIT = {1: 33, 2: 17, 3: 9, 4: 5}  # by exits before the last; 3 for more
TIME_THRESHOLDS = 17  # quantiles of the confidence over time
DETECTOR_THRESHOLDS = (0.05, 0.2, 0.5, 0.8)


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """Decisions of a network at one operating point, per image."""

    labels: npt.NDArray[np.int64]  # predicted
    exits: npt.NDArray[np.int64]  # exit taken, from 1
    accumulates: Floats
    spikes: Floats
    timesteps: npt.NDArray[np.int64]  # run until the answer


@dataclass(frozen=True, kw_only=True)
class OperatingSetting:
    """The settings of an operating point.

    With a `time_threshold` below 1 an image answers at the first timestep, and there at the
    first exit, that is confident enough: as much as its own threshold, at the last exit as the
    time threshold; after all timesteps the last exit answers. In each timestep the blocks run
    one after another until one answers. Otherwise each block runs for all timesteps before the
    next one starts.
    """

    timesteps: int
    exit_thresholds: tuple[float, ...]  # for the exits before the last of `depth` blocks
    detector_threshold: float
    time_threshold: float = 1.0

    @property
    def depth(self) -> int:
        """Number of blocks used."""
        return len(self.exit_thresholds) + 1


class OperatingPointEvaluator:
    """Computes the metrics of operating points from one recording."""

    def __init__(self, trained: Trained, recording: Recording) -> None:
        self.trained, self.recording = trained, recording
        self.images = len(recording.labels)
        self.evaluated = 0
        network = trained.network
        self._layers = np.cumsum([len(layers_of(block)) for block in network.blocks])
        self._fixed = {depth: self._fixed_metrics(depth) for depth in self.depths()}

    def depths(self) -> range:
        """Return the numbers of blocks that can be used: all prefixes if trained block-local."""
        blocks = len(self.trained.network.blocks)
        return range(1 if self.trained.config.space_rule == "block-local" else blocks, blocks + 1)

    def _fixed_metrics(self, depth: int) -> dict[str, float]:
        """Return the metrics that do not depend on thresholds and timesteps."""
        history = self.trained.history
        blocks = [self.trained.network.block(index) for index in range(depth)]
        stages = depth if self.trained.config.space_rule == "block-local" else 1
        weights = _kept_connections(blocks)
        possible = sum(conn.weight.numel() for conn in weights)
        alive = sum(int(torch.count_nonzero(conn.weight)) for conn in weights)
        detector = blocks[-1].head.detector
        blocks[-1].head.detector = None  # no block follows the last one
        stored = model_bytes(blocks)
        blocks[-1].head.detector = detector
        return {
            "training_memory_bytes": float(max(history.memory_bytes[:stages])),
            "model_bytes": float(stored),
            "connectivity": alive / possible,
            "parameters": float(sum(history.parameters[:depth])),
            "training_ops": sum(history.training_ops[:stages]) or math.nan,
            "training_s": sum(history.training_s[:stages]),
        }

    def exiting(self, setting: OperatingSetting) -> list[npt.NDArray[np.bool_]]:
        """Return a mask of images for each exit of the setting: the images that exit there."""
        if setting.time_threshold < 1:
            last = self._streamed(setting)[0][1]
            return [last == index for index in range(setting.depth)]
        step = setting.timesteps - 1
        remaining = np.ones(self.images, dtype=bool)
        masks = []
        for index, threshold in enumerate(setting.exit_thresholds):
            may_exit = self._may_exit(index, step, threshold, setting.detector_threshold)
            masks.append(remaining & may_exit)
            remaining = remaining & ~may_exit
        return [*masks, remaining]

    def _may_exit(
        self, index: int, step: int, threshold: float, detector_threshold: float
    ) -> npt.NDArray[np.bool_]:
        if threshold >= 1:  # never, even if a confidence has been rounded to 1
            return np.zeros(self.images, dtype=bool)
        confidence = self.recording.confidence[index, step]
        p_hard = self.recording.p_hard[index, step]
        may_exit: npt.NDArray[np.bool_] = (confidence >= np.float32(threshold)) & (
            p_hard <= np.float32(detector_threshold)
        )
        return may_exit

    def _costs(self, timesteps: int, depth: int) -> list[Floats]:
        """Return for each exit the values of an image that exits there: (images, columns).

        Columns: correct, accumulates, spikes, MACs, sequential layer updates, blocks, timesteps,
        milliseconds, input spikes, bits of the codes, distortion.
        """
        rec, step = self.recording, timesteps - 1
        costs = []
        spent, bits = np.zeros((3, self.images)), np.zeros(self.images)
        for index in range(depth):
            spent = spent + np.stack(
                [x[index, step] for x in (rec.accumulates, rec.spikes, rec.macs)]
            )
            bits = bits + rec.bits[index, step]
            if index + 1 < depth:
                spent[0] += rec.detector[index, step]
            columns = [
                (rec.label[index, step] == rec.labels).astype(np.float64),
                *spent,
                np.full(self.images, float(timesteps * self._layers[index])),
                np.full(self.images, index + 1.0),
                np.full(self.images, float(timesteps)),
                rec.seen_ms[step],
                rec.inputs[step],
                bits,
                rec.distortion[index, step],
            ]
            costs.append(np.stack(columns, axis=1))
        return costs

    def _streamed(self, setting: OperatingSetting) -> tuple[npt.NDArray[np.int64], Floats]:
        """Return timestep and exit (both from 0) of each image, (2, images), and its costs.

        The columns of the costs are those of `_costs`. Blocks after the exit have not run in
        the last timestep.
        """
        rec, steps, depth = self.recording, setting.timesteps, setting.depth
        limits = (*setting.exit_thresholds, setting.time_threshold)
        is_sure = np.zeros((steps, depth, self.images), dtype=bool)
        for step, index in itertools.product(range(steps), range(depth)):
            detector = setting.detector_threshold if index + 1 < depth else 1.0
            is_sure[step, index] = self._may_exit(index, step, limits[index], detector)
        is_sure[-1, -1] = True
        place = is_sure.reshape(-1, self.images).argmax(axis=0)
        step, last = place // depth, place % depth
        every = np.arange(self.images)
        spent = np.zeros((3, self.images))
        for index in range(depth):
            counts = [rec.accumulates[index], rec.spikes[index], rec.macs[index]]
            if index + 1 < depth:
                counts[0] = counts[0] + rec.detector[index]
            runs = step + (index <= last)  # timesteps of this block
            for row, count in zip(spent, counts, strict=True):
                row += np.where(runs > 0, count[np.maximum(runs - 1, 0), every], 0.0)
        columns = [
            (rec.label[last, step, every] == rec.labels).astype(np.float64),
            *spent,
            (step * self._layers[depth - 1] + self._layers[last]).astype(np.float64),
            np.where(step > 0, depth, last + 1).astype(np.float64),
            step + 1.0,
            rec.seen_ms[step, every],
            rec.inputs[step, every],
            *np.full((2, self.images), np.nan),  # a code has one answer, after all timesteps
        ]
        return np.stack([step, last]), np.stack(columns, axis=1)

    def _metrics(self, sums: Floats, depth: int) -> dict[str, float]:
        mean = sums / self.images
        values = {
            "accuracy": mean[0],
            "synaptic_ops": mean[1],
            "spikes_per_inference": mean[2],
            "macs": mean[3],
            "latency_steps": mean[4],
            "mean_blocks": mean[5],
            "mean_timesteps": mean[6],
            "latency_ms": mean[7],
            "input_events": mean[8],
            "code_bits": mean[9],
            "distortion": mean[10],
            "est_energy_nj": energy_nj(mean[1], mean[3]),
            **self._fixed[depth],
        }
        # one NaN object, so that equal metrics compare equal
        found = {name: float(values[name]) for name in METRICS}
        return {name: math.nan if math.isnan(v) else v for name, v in found.items()}

    def point(self, setting: OperatingSetting, *, is_sampled: bool = False) -> OperatingPoint:
        """Return the metrics of one operating point."""
        self.evaluated += 1
        if setting.time_threshold < 1:
            sums = self._streamed(setting)[1].sum(axis=0)
        else:
            costs = self._costs(setting.timesteps, setting.depth)
            pairs = zip(self.exiting(setting), costs, strict=True)
            sums = np.asarray(sum(mask.astype(np.float64) @ cost for mask, cost in pairs))
        return OperatingPoint(
            timesteps=setting.timesteps,
            exit_thresholds=setting.exit_thresholds,
            detector_threshold=setting.detector_threshold,
            blocks=setting.depth,
            metrics=self._metrics(sums, setting.depth),
            is_sampled=is_sampled,
            time_threshold=setting.time_threshold,
        )

    def decisions(self, setting: OperatingSetting) -> Decisions:
        """Return the decision about each image, equal to that of `evaluate.infer`."""
        rec, step = self.recording, setting.timesteps - 1
        if setting.time_threshold < 1:
            (steps, last), cost = self._streamed(setting)
            return Decisions(
                labels=rec.label[last, steps, np.arange(self.images)],
                exits=last + 1,
                accumulates=cost[:, 1],
                spikes=cost[:, 2],
                timesteps=steps + 1,
            )
        masks, costs = self.exiting(setting), self._costs(setting.timesteps, setting.depth)
        return Decisions(
            labels=np.select(masks, [rec.label[index, step] for index in range(setting.depth)]),
            exits=np.select(masks, list(range(1, setting.depth + 1))),
            accumulates=np.select(masks, [cost[:, 1] for cost in costs]),
            spikes=np.select(masks, [cost[:, 2] for cost in costs]),
            timesteps=np.full(self.images, setting.timesteps),
        )

    def family(self) -> Iterator[OperatingPoint]:
        """Yield points for all depths, timesteps, detector thresholds and exit thresholds."""
        config = self.trained.config
        detector = detector_thresholds(config)
        for depth in self.depths():
            limits = detector if depth > 1 else [config.detector_threshold]
            for timesteps, limit in itertools.product(range(1, config.timesteps + 1), limits):
                yield from self._grid(depth, timesteps, limit)
            may_answer = is_recorded(config.dataset) or config.time_rule == "spike-time"
            may_answer = may_answer and config.time_rule != "encoder"
            if config.timesteps > 1 and (may_answer or config.time_threshold < 1):
                yield from self._over_time(depth)

    def _over_time(self, depth: int) -> Iterator[OperatingPoint]:
        """Yield points that answer over time: the last exit alone, and all exits alike."""
        config = self.trained.config
        known = self.recording.confidence[depth - 1, : config.timesteps - 1]
        quantiles = np.quantile(known, np.linspace(0, 1, TIME_THRESHOLDS))
        if config.time_rule == "spike-time":
            quantiles = np.append(
                quantiles, first_spike(config, self.trained.network.block(depth - 1))
            )
        for threshold in sorted({round(float(q), 6) for q in quantiles}):
            if threshold >= 1:
                continue
            alone, alike = (1.0,) * (depth - 1), (threshold,) * (depth - 1)
            for exits in dict.fromkeys((alone, alike)):
                yield self.point(
                    OperatingSetting(
                        timesteps=config.timesteps,
                        exit_thresholds=exits,
                        detector_threshold=config.detector_threshold,
                        time_threshold=threshold,
                    )
                )

    def _grid(self, depth: int, timesteps: int, limit: float) -> Iterator[OperatingPoint]:
        """Yield points for all combinations of exit thresholds; a row is a combination."""
        costs = self._costs(timesteps, depth)
        choices = [self._thresholds(index, timesteps, depth) for index in range(depth - 1)]
        remaining = np.ones((1, self.images))
        sums = np.zeros((1, costs[0].shape[1]))
        for index, thresholds in enumerate(choices):
            may_exit = np.stack(
                [self._may_exit(index, timesteps - 1, t, limit) for t in thresholds]
            )
            exited = (remaining[:, None, :] * may_exit[None]).reshape(-1, self.images)
            sums = np.repeat(sums, len(thresholds), axis=0) + exited @ costs[index]
            remaining = (remaining[:, None, :] * ~may_exit[None]).reshape(-1, self.images)
        sums = sums + remaining @ costs[-1]
        for row, combination in zip(sums, itertools.product(*choices), strict=True):
            self.evaluated += 1
            yield OperatingPoint(
                timesteps=timesteps,
                exit_thresholds=combination,
                detector_threshold=limit,
                blocks=depth,
                metrics=self._metrics(row, depth),
            )

    def _thresholds(self, index: int, timesteps: int, depth: int) -> list[float]:
        """Return quantiles of the confidence at an exit, and 1 (never exit)."""
        count = THRESHOLDS_PER_EXIT.get(depth - 1, 3)
        confidence = self.recording.confidence[index, timesteps - 1]
        quantiles = np.quantile(confidence, np.linspace(0, 1, count - 1))
        return sorted({*(round(float(q), 6) for q in quantiles), 1.0})


def first_spike(config: RunConfig, block: Block) -> float:
    """Return the time_threshold at which output neurons that fire once answer by the first spike.

    It lies between the confidence without a spike and the lowest one with the first spikes: of
    all neurons but one, at the last timestep.
    """
    classes = len(block.head.classes)
    spoken = math.exp(config.answer_gain / config.timesteps)
    return (1 / classes + spoken / (spoken * (classes - 1) + 1)) / 2


def detector_thresholds(config: RunConfig) -> list[float]:
    """Return the config's own threshold, and others that its detector can be used with."""
    own = config.detector_threshold
    if config.detector == "none":
        return [own]
    if config.detector == "predicted":  # p_hard is 0 or 1: any limit below 1 is equal
        return [own, 1.0] if own < 1 else [0.0, own]
    return sorted({own, *DETECTOR_THRESHOLDS})


def _kept_connections(blocks: Sequence[Block]) -> list[Connections]:
    """Return the connections of a prefix, without the unused detector of the last block."""
    last = blocks[-1].head.detector
    return [
        conn
        for block in blocks
        for conn in connections_of(block)
        if last is None or conn is not last.connections
    ]


def keep(points: Sequence[OperatingPoint], bound: int = KEPT_POINTS) -> list[OperatingPoint]:
    """Return the first point and the non-dominated ones, at most `bound`.

    If there are more, the best of every metric and then the most widely spread in accuracy,
    operations, latency and size are kept.
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
    """Return the non-dominated rows (lower is better); of equal rows the first."""
    varying = values[:, np.ptp(values, axis=0) > 0]
    if varying.shape[1] == 0:
        return [0]
    _, first = np.unique(varying, axis=0, return_index=True)
    # a row can only be dominated by a row with a lower sum of ranks
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

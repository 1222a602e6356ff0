"""Evaluation: the operating points of a trained network, from one pass over the data.

Exit thresholds and inference timesteps change nothing that was trained. The
pass keeps, for every image, block and timestep, how sure the exit is, what it
says, and what has been spent until then; every threshold and every shorter run
is then counted, not run. `infer` runs one point for real: the blocks behind an
exit see only the images that stayed, and later timesteps are not run.
"""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snn import encoding
from snn.config import RunConfig
from snn.cost import energy_nj, fan_out, model_bytes, skip_fan_out
from snn.layers import Connections, Layer, Pass
from snn.measurement import METRICS, Evaluation, ExitReport, LayerReport, OperatingPoint
from snn.network import Block, Network, connections_of, generator, layers_of

Floats = npt.NDArray[np.float64]

BATCH = 256
KEPT_POINTS = 64  # operating points kept of one network
THRESHOLDS_PER_EXIT = {1: 33, 2: 17, 3: 9}  # by exits before the last; 5 beyond
DETECTOR_THRESHOLDS = (0.05, 0.2, 0.5, 0.8)


@dataclass(frozen=True, kw_only=True)
class History:
    """What training left behind besides the weights."""

    memory_bytes: tuple[int, ...]  # per stage
    training_s: tuple[float, ...]  # per stage
    parameters: tuple[int, ...]  # per block


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network with baked blocks, and its history."""

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


# -- what an exit says ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the exit of one block says; all (batch,) but `probabilities` (batch, all classes)."""

    probabilities: Tensor
    confidence: Tensor
    label: Tensor
    hardness: Tensor  # probability that the input needs the next block


def verdict(
    network: Network, index: int, readout: Tensor, features: Tensor, before: Tensor | None
) -> Verdict:
    """Combine what block `index` sees with what the block before it said.

    `readout` (batch, classes of the block) and `features` (batch, features) are
    means over the timesteps run. A block that tells all classes apart overrules
    the one before. One that knows only hard classes shares out the probability
    that they had together, and leaves the others as they were: it is never
    asked about a class that it has not seen.
    """
    head = network.block(index).head
    own = torch.softmax(readout, dim=1)
    if len(head.classes) == network.task.classes:
        probabilities = own
    else:
        assert before is not None
        classes = torch.tensor(head.classes, device=own.device)
        mass = before[:, classes].sum(dim=1, keepdim=True)
        probabilities = before.index_copy(1, classes, own * mass)
    confidence, label = probabilities.max(dim=1)
    hardness = _hardness(network, index, probabilities, features)
    return Verdict(
        probabilities=probabilities, confidence=confidence, label=label, hardness=hardness
    )


def _hardness(network: Network, index: int, probabilities: Tensor, features: Tensor) -> Tensor:
    head, kind = network.block(index).head, network.config.detector
    if kind == "none" or not head.hard:
        return torch.zeros_like(probabilities[:, 0])
    if kind == "mass":
        return probabilities[:, list(head.hard)].sum(dim=1)
    if head.detector is None:  # every class of the block is hard
        return torch.ones_like(probabilities[:, 0])
    weight = head.detector.connections.weight
    logits = head.detector.connections.apply_weight(features, weight) + head.detector.bias
    return torch.softmax(logits, dim=1)[:, 1]


# -- what is spent ------------------------------------------------------------


class Meter:
    """Counts operations and spikes per image, layer and timestep as an Observer."""

    def __init__(self) -> None:
        self._fans: dict[object, Tensor] = {}
        self.clear()

    def clear(self) -> None:
        """Forget the images of the last batch."""
        self.accumulates: dict[object, list[Tensor]] = {}  # by layer or readout: (time, batch)
        self.spikes: dict[Layer, list[Tensor]] = {}
        self.macs: dict[object, float] = {}  # by layer: per image

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        steps = spikes.shape[0]
        counts = []
        for conn, x in zip(layer.sources, inputs, strict=False):
            counts.append(self._counts(layer, conn, x, steps))
        if layer.skip is not None:
            source = inputs[-1]
            if layer.skip not in self._fans:
                self._fans[layer.skip] = skip_fan_out(layer, source.shape[2:]).flatten()
            counts.append(_weighted(source, self._fans[layer.skip]) * layer.skip.grain)
        self.accumulates.setdefault(layer, []).append(torch.stack(counts).sum(dim=0))
        self.spikes.setdefault(layer, []).append(spikes.flatten(2).sum(dim=2, dtype=torch.float64))

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        counts = self._counts(connections, connections, inputs, inputs.shape[0])
        self.accumulates.setdefault(connections, []).append(counts)

    def _counts(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        """Accumulates per timestep and image; analog inputs go to `macs` instead."""
        if conn not in self._fans:
            self._fans[conn] = fan_out(conn, x.shape[2:]).flatten()
        fan = self._fans[conn]
        if conn.is_analog:
            # the current is the same at every timestep and computed once
            self.macs[owner] = float(fan.sum())
            return x.new_zeros((steps, x.shape[1]), dtype=torch.float64)
        return _weighted(x, fan) * conn.grain


def _weighted(x: Tensor, fan: Tensor) -> Tensor:
    """Sum over inputs of |input| * fan-out, (time, batch)."""
    return x.flatten(2).abs().to(torch.float64) @ fan


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Of one batch and block, per timestep and image: (time, batch) each."""

    accumulates: Tensor
    spikes: Tensor
    macs: float  # per image, once


def _spent(meter: Meter, block: Block) -> Spent:
    layers = layers_of(block)
    owners: list[object] = [*layers, block.head.readout.connections]
    accumulates = [torch.cat(meter.accumulates[owner]) for owner in owners]
    spikes = [torch.cat(meter.spikes[layer]) for layer in layers]
    return Spent(
        accumulates=torch.stack(accumulates).sum(dim=0),
        spikes=torch.stack(spikes).sum(dim=0) if spikes else torch.zeros_like(accumulates[0]),
        macs=sum(meter.macs.get(owner, 0.0) for owner in owners),
    )


def _detector_ops(block: Block, features: Tensor) -> Tensor:
    """Accumulates of the detector, (time, batch)."""
    if block.head.detector is None:
        return torch.zeros(features.shape[:2], dtype=torch.float64, device=features.device)
    conn = block.head.detector.connections
    return _weighted(features, fan_out(conn, features.shape[2:]).flatten()) * conn.grain


# -- one pass -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One pass over the data; arrays are (blocks, timesteps, images) unless said.

    `timesteps` index t holds what is known and spent after t + 1 of them.
    """

    labels: npt.NDArray[np.int64]  # (images,)
    confidence: npt.NDArray[np.float32]
    hardness: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    accumulates: Floats  # of the block, detector not included
    detector: Floats  # accumulates of the block's detector
    spikes: Floats
    macs: Floats  # (blocks,)
    layers: tuple[LayerReport, ...] = field(default=())


@torch.no_grad()
def record(network: Network, images: Images) -> Recording:
    """Run every block for all trained timesteps on all images, once."""
    config = network.config
    network.eval()
    meter = Meter()
    totals = _LayerTotals(network, images)
    parts: list[dict[str, npt.NDArray[np.generic]]] = []
    macs = np.zeros(len(network.blocks))
    for drive, labels in images.batches(config):
        meter.clear()
        outputs = network.run(drive, Pass(observer=meter), timesteps=config.timesteps)
        totals.add(meter)
        part = _verdicts(network, outputs.logits, outputs.features)
        spent = [_spent(meter, network.block(index)) for index in range(len(network.blocks))]
        macs = np.array([block.macs for block in spent])
        detector = [
            _detector_ops(network.block(index), outputs.features[index])
            for index in range(len(network.blocks))
        ]
        part["accumulates"] = _cumulative([block.accumulates for block in spent])
        part["spikes"] = _cumulative([block.spikes for block in spent])
        part["detector"] = _cumulative(detector)
        part["labels"] = labels.cpu().numpy()
        parts.append(part)
    joined = {name: np.concatenate([p[name] for p in parts], axis=-1) for name in parts[0]}
    return Recording(**joined, macs=macs, layers=totals.reports())


def _cumulative(per_block: Sequence[Tensor]) -> npt.NDArray[np.generic]:
    return torch.stack(list(per_block)).cumsum(dim=1).cpu().numpy()


def _verdicts(
    network: Network, logits: Sequence[Tensor], features: Sequence[Tensor]
) -> dict[str, npt.NDArray[np.generic]]:
    """Confidence, hardness and label of every block after every timestep."""
    steps = logits[0].shape[0]
    found: dict[str, list[Tensor]] = {"confidence": [], "hardness": [], "label": []}
    for step in range(1, steps + 1):
        before = None
        for index, (inputs, read) in enumerate(zip(logits, features, strict=True)):
            said = verdict(network, index, mean_over(inputs, step), mean_over(read, step), before)
            before = said.probabilities
            for name, values in found.items():
                values.append(getattr(said, name))
    shape = (steps, len(logits), -1)
    return {
        name: torch.stack(values).view(shape).transpose(0, 1).cpu().numpy()
        for name, values in found.items()
    }


def mean_over(inputs: Tensor, steps: int) -> Tensor:
    """What an integrator holds after `steps` timesteps, per timestep; `inputs` has time first."""
    return inputs[:steps].sum(dim=0) / steps


class _LayerTotals:
    """Sums of what each layer did, over all images and timesteps."""

    def __init__(self, network: Network, images: Images) -> None:
        self.network, self.images = network, images
        self.spikes: dict[Layer, float] = {}
        self.accumulates: dict[object, float] = {}
        self.neurons: dict[Layer, int] = {}
        self.macs: dict[object, float] = {}

    def add(self, meter: Meter) -> None:
        for layer, chunks in meter.spikes.items():
            self.spikes[layer] = self.spikes.get(layer, 0) + sum(float(c.sum()) for c in chunks)
        for owner, chunks in meter.accumulates.items():
            total = sum(float(c.sum()) for c in chunks)
            self.accumulates[owner] = self.accumulates.get(owner, 0) + total
        self.macs.update(meter.macs)

    def reports(self) -> tuple[LayerReport, ...]:
        """Layers and readouts in the order in which a spike meets them."""
        return tuple(
            report
            for index in range(len(self.network.blocks))
            for report in self._block_reports(index, self.network.block(index))
        )

    def _block_reports(self, index: int, block: Block) -> Iterator[LayerReport]:
        count, steps = len(self.images.labels), self.network.config.timesteps
        sizes = _neurons(block)
        for layer in layers_of(block):
            own = layer.sources
            spikes = self.spikes[layer] / count
            yield LayerReport(
                block=index + 1,
                name=layer.name,
                neurons=sizes[layer],
                weights=sum(conn.weight.numel() for conn in own),
                connections=sum(int(torch.count_nonzero(conn.weight)) for conn in own),
                spikes_per_inference=spikes,
                spike_rate=spikes / (sizes[layer] * steps),
                synaptic_ops=self.accumulates[layer] / count,
                macs=self.macs.get(layer, 0.0),
            )
        readout = block.head.readout.connections
        yield LayerReport(
            block=index + 1,
            name=f"exit{index + 1}.readout",
            neurons=readout.weight.shape[0],
            weights=readout.weight.numel(),
            connections=int(torch.count_nonzero(readout.weight)),
            spikes_per_inference=0.0,
            spike_rate=0.0,
            synaptic_ops=self.accumulates[readout] / count,
            macs=self.macs.get(readout, 0.0),
        )


def _neurons(block: Block) -> dict[Layer, int]:
    """Neurons of each layer of a block, found by running one silent timestep."""
    sizes: dict[Layer, int] = {}

    class Sizes:
        def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
            del inputs
            sizes[layer] = math.prod(spikes.shape[2:])

        def readout(self, connections: Connections, inputs: Tensor) -> None:
            del connections, inputs

    device = next(block.parameters()).device
    batch = Pass(observer=Sizes())
    x = block(torch.zeros(1, 1, *block.source.shape, device=device), 1, batch)
    block.head(x, 1, batch)
    return sizes


# -- operating points -----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An operating point before it is counted."""

    timesteps: int
    exit_thresholds: tuple[float, ...]  # for the exits before the last of `depth` blocks
    detector_threshold: float

    @property
    def depth(self) -> int:
        """Blocks that are kept."""
        return len(self.exit_thresholds) + 1


class Counter:
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

    def leaving(self, setting: Setting) -> list[npt.NDArray[np.bool_]]:
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

    def point(self, setting: Setting, *, is_sampled: bool = False) -> OperatingPoint:
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

    def decisions(self, setting: Setting) -> "Inference":
        """What running the setting would give, per image."""
        rec, step = self.recording, setting.timesteps - 1
        left, costs = self.leaving(setting), self._costs(setting.timesteps, setting.depth)
        exits = np.select(left, list(range(1, setting.depth + 1)))
        return Inference(
            labels=np.select(left, [rec.label[index, step] for index in range(setting.depth)]),
            exits=exits,
            accumulates=np.select(left, [cost[:, 1] for cost in costs]),
            spikes=np.select(left, [cost[:, 2] for cost in costs]),
        )

    def family(self) -> Iterator[OperatingPoint]:
        """Points over all depths, timesteps, detector thresholds and a grid of exit thresholds."""
        config = self.trained.config
        detector = {config.detector_threshold}
        if config.detector != "none":
            detector.update(DETECTOR_THRESHOLDS)
        for depth in self.depths():
            hardness = sorted(detector) if depth > 1 else [config.detector_threshold]
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
        count = THRESHOLDS_PER_EXIT.get(depth - 1, 5)
        confidence = self.recording.confidence[index, timesteps - 1]
        quantiles = np.quantile(confidence, np.linspace(0, 1, count - 1))
        return sorted({*(round(float(q), 4) for q in quantiles), 1.0})


def _kept_connections(blocks: Sequence[Block]) -> list[Connections]:
    """Connections of a prefix: the last block's detector is of no use."""
    last = blocks[-1].head.detector
    return [
        conn
        for block in blocks
        for conn in connections_of(block)
        if last is None or conn is not last.connections
    ]


def sampled_setting(config: RunConfig, blocks: int) -> Setting:
    """The operating point that a config asks for, on a network of `blocks` trained blocks."""
    return Setting(
        timesteps=config.inference_timesteps,
        exit_thresholds=config.exit_threshold[: blocks - 1],
        detector_threshold=config.detector_threshold,
    )


def evaluate(trained: Trained, images: Images) -> Evaluation:
    """Operating points, layers and exits of a trained network on labelled images."""
    started = time.perf_counter()
    recording = record(trained.network, images)
    counter = Counter(trained, recording)
    setting = sampled_setting(trained.config, len(trained.network.blocks))
    sampled = counter.point(setting, is_sampled=True)
    kept = keep([sampled, *counter.family()])
    return Evaluation(
        points=tuple(kept),
        layers=recording.layers,
        exits=tuple(_exit_reports(trained.network, counter, setting)),
        points_evaluated=counter.evaluated,
        wall_s=time.perf_counter() - started,
        images=len(recording.labels),
    )


def _exit_reports(network: Network, counter: Counter, setting: Setting) -> Iterator[ExitReport]:
    rec, step = counter.recording, setting.timesteps - 1
    for index, gone in enumerate(counter.leaving(setting)):
        right = gone & (rec.label[index, step] == rec.labels)
        for label in range(network.task.classes):
            of_class = rec.labels == label
            yield ExitReport(
                exit=index + 1,
                label=label,
                images=int((gone & of_class).sum()),
                correct=int((right & of_class).sum()),
                is_hard=label in network.block(index).head.hard,
            )


def keep(points: Sequence[OperatingPoint], bound: int = KEPT_POINTS) -> list[OperatingPoint]:
    """The first point, and of the others those that no point dominates, at most `bound`.

    Where there are more, those that lie farthest apart in accuracy, operations
    and latency stay, the best of every metric first.
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
    while len(order) < bound:
        farthest = int(distance.argmax())
        order.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(view - view[farthest], axis=1))
    return [points[chosen[index]] for index in sorted(order)]


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


# -- for real ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What running one operating point for real gave, per image."""

    labels: npt.NDArray[np.int64]  # decided
    exits: npt.NDArray[np.int64]  # exit taken, from 1
    accumulates: Floats
    spikes: Floats


@torch.no_grad()
def infer(network: Network, images: Images, setting: Setting) -> Inference:
    """Run the network at one operating point, with images leaving as they become sure.

    Blocks behind an exit get only the images that stayed, and timesteps beyond
    the setting's are not run.
    """
    network.eval()
    parts = [_infer_batch(network, drive, setting) for drive, _ in images.batches(network.config)]
    return Inference(
        labels=np.concatenate([part.labels for part in parts]),
        exits=np.concatenate([part.exits for part in parts]),
        accumulates=np.concatenate([part.accumulates for part in parts]),
        spikes=np.concatenate([part.spikes for part in parts]),
    )


def _infer_batch(network: Network, drive: Tensor, setting: Setting) -> Inference:
    images, device = drive.shape[1], drive.device
    labels = torch.zeros(images, dtype=torch.int64, device=device)
    exits = torch.zeros(images, dtype=torch.int64, device=device)
    spent = torch.zeros(2, images, dtype=torch.float64, device=device)
    staying = torch.arange(images, device=device)
    before: Tensor | None = None
    x = drive[: setting.timesteps]
    for index in range(setting.depth):
        meter = Meter()
        single = Network(network.config, network.task)
        single.blocks.append(network.block(index))
        outputs = single.run(x, Pass(observer=meter), timesteps=setting.timesteps)
        cost = _spent(meter, network.block(index))
        spent[0, staying] += cost.accumulates.sum(dim=0)
        spent[1, staying] += cost.spikes.sum(dim=0)
        readout = mean_over(outputs.logits[0], setting.timesteps)
        features = mean_over(outputs.features[0], setting.timesteps)
        said = verdict(network, index, readout, features, before)
        if index + 1 < setting.depth:
            spent[0, staying] += _detector_ops(network.block(index), outputs.features[0]).sum(dim=0)
            sure = (said.confidence >= setting.exit_thresholds[index]) & (
                said.hardness <= setting.detector_threshold
            )
        else:
            sure = torch.ones_like(said.confidence, dtype=torch.bool)
        labels[staying[sure]] = said.label[sure]
        exits[staying[sure]] = index + 1
        staying, before = staying[~sure], said.probabilities[~sure]
        if len(staying) == 0:
            break
        x = torch.cat(outputs.border)[:, ~sure]
    return Inference(
        labels=labels.cpu().numpy(),
        exits=exits.cpu().numpy(),
        accumulates=spent[0].cpu().numpy(),
        spikes=spent[1].cpu().numpy(),
    )

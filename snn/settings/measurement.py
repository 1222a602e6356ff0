"""Metrics of a network, declared once, and the records of training and evaluation."""

import math
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# columns of tables and data frames, words of picks and reports
RESERVED = frozenset(
    word
    for words in (
        "trial trials study state params seed train code reason metric value",
        "epoch epochs loss train_accuracy spike_rate",
        "point label knee best on_front is_sampled",
        "block blocks timesteps exit_thresholds detector_threshold",
    )
    for word in words.split()
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def name_fault(name: object) -> str | None:
    """Return why a metric of the user cannot have this name, or None."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return "must have a name of up to 60 lower-case letters, digits and '_', like energy_uj"
    if name in RESERVED or name.endswith(("_mean", "_std")):
        return "has a reserved name; choose another one"
    return None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The declaration of one figure of a network at an operating point."""

    name: str
    unit: str  # "" for fractions and counts without one
    better: Literal["higher", "lower"]
    meaning: str
    ideal: float | None = None  # None: 1 where higher is better, 0 where lower is
    is_mean: bool = False  # over images: between two exits it lies between their values
    is_fraction: bool = False  # from 0 to 1, and shown as a percentage
    # settings -> the values with which it is measured; without them no point has it
    only_with: Mapping[str, Container[Any]] = field(default_factory=dict)

    def limit_fault(self, value: float) -> str | None:
        """Return why no limit can have this value, such as a percentage of a fraction, or None."""
        if not self.is_fraction or 0 <= value <= 1:
            return None
        meant = f": {value:g} % is {value / 100:g}" if 1 < value <= 100 else ""
        return f"must be a fraction from 0 to 1, got {value:g}{meant}"

    @property
    def sign(self) -> int:
        """Factor after which lower values are better: 1 or -1."""
        return -1 if self.better == "higher" else 1

    def is_counted_as(self, other: "Metric") -> bool:
        """Return whether values may be compared: two studies may count one name in two units."""
        return (self.better, self.unit) == (other.better, other.unit)

    @property
    def best_value(self) -> float:
        """The best value that it can have: a corner of the box of hypervolumes."""
        if self.ideal is not None:
            return self.ideal
        return 1.0 if self.better == "higher" else 0.0


def _metric(
    name: str,
    unit: str,
    better: Literal["higher", "lower"],
    meaning: str,
    **more: Any,
) -> Metric:
    return Metric(name=name, unit=unit, better=better, meaning=meaning, **more)


_CODED = {"time_rule": ("encoder",)}
_RECORDED = {"encoding": ("events", "delta")}  # declared again, as settings load after metrics


_ALL = (
    _metric(
        "accuracy",
        "",
        "higher",
        "fraction of validation images classified correctly",
        is_fraction=True,
    ),
    _metric(
        "synaptic_ops",
        "ops",
        "lower",
        "synaptic operations (accumulates) per image: for each spike, the number of its existing "
        "outgoing connections (padding not counted); executed blocks, exits and timesteps only",
        is_mean=True,
    ),
    _metric(
        "macs",
        "ops",
        "lower",
        "multiply-accumulates per image, in connections whose inputs are real numbers, not spikes",
        is_mean=True,
    ),
    _metric(
        "est_energy_nj",
        "nJ",
        "lower",
        "estimated energy per image: 0.9 pJ per accumulate and 4.6 pJ per multiply-accumulate "
        "(32-bit float, 45 nm, Horowitz ISSCC 2014); memory traffic is not counted",
        is_mean=True,
    ),
    _metric(
        "spikes_per_inference",
        "spikes",
        "lower",
        "spikes per image of all neurons in executed blocks and exits",
        is_mean=True,
    ),
    _metric(
        "latency_steps",
        "steps",
        "lower",
        "sequential layer updates until the image exits: timesteps x spiking layers up to its "
        "exit; mean over images. Not a time",
        is_mean=True,
    ),
    _metric(
        "mean_timesteps",
        "steps",
        "lower",
        "timesteps per image, mean over images: those of the operating point, or fewer with a "
        "time_threshold; an exit by its own threshold alone skips blocks and no timesteps",
        is_mean=True,
    ),
    _metric(
        "mean_blocks",
        "blocks",
        "lower",
        "executed blocks per image, mean over images",
        is_mean=True,
    ),
    _metric(
        "training_memory_bytes",
        "B",
        "lower",
        "training memory for one batch at the stage that needs most: weights, gradients, optimizer "
        "state and all that is stored for the backward pass",
    ),
    _metric(
        "training_ops",
        "ops",
        "lower",
        "operations of the whole training: accumulates and multiply-accumulates of forward and "
        "backward passes and written weights, where a connection exists and its input or error is "
        "not zero; over all timesteps, images and epochs",
    ),
    _metric(
        "model_bytes",
        "B",
        "lower",
        "size of the stored network with its exits: non-zero weights of 32 bits plus one bit per "
        "possible connection (a mask), or all weights if that is smaller",
    ),
    _metric(
        "connectivity",
        "",
        "lower",
        "connection density (1 - sparsity): fraction of the possible connections that exist",
        is_fraction=True,
    ),
    _metric(
        "parameters",
        "",
        "lower",
        "trained parameters of blocks and exits, removed connections included",
    ),
    _metric("training_s", "s", "lower", "wall time of training, without validation"),
    _metric(
        "latency_ms",
        "ms",
        "lower",
        "time of the recording that was seen until the answer, mean over recordings: the timesteps "
        "run times their length; with binning whole or count the whole recording, because their "
        "bins need its end. Only of recordings",
        is_mean=True,
        only_with=_RECORDED,
    ),
    _metric(
        "input_events",
        "events",
        "lower",
        "input spikes until the answer, mean over recordings: with event_value counts every event, "
        "with binary one per input and timestep; 0 for images as a constant current",
        is_mean=True,
    ),
    _metric(
        "code_bits",
        "bits",
        "lower",
        "bits of the codes until the answer, mean over images: the relative entropy of the spikes "
        "of code neurons to their reference rate. Only of time_rule encoder",
        is_mean=True,
        only_with=_CODED,
    ),
    _metric(
        "distortion",
        "bits",
        "lower",
        "bits that a code leaves open, mean over images: -log2 of the probability that the decoder "
        "gives to the class, or to all pixels of the image. Only of time_rule encoder",
        is_mean=True,
        only_with=_CODED,
    ),
)

PJ_PER_ACCUMULATE = 0.9  # 32-bit float addition at 45 nm (Horowitz, ISSCC 2014)
PJ_PER_MAC = 4.6  # the same with a multiplication of 3.7 pJ

Metrics = Mapping[str, Metric]  # declarations by name

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
FRACTIONS = tuple(metric.name for metric in _ALL if metric.is_fraction)


@dataclass(frozen=True, kw_only=True)
class LayerConnectivity:
    """Connections into one layer, or of an exit's readout, after an epoch."""

    name: str
    weights: int  # possible connections
    connections: int  # existing ones
    regrown: int  # exist now and did not an epoch ago
    removed: int  # existed an epoch ago and do not now


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Results of one training epoch."""

    block: int  # block being trained, from 1; 0 when all are trained at once
    epoch: int  # within that block, from 1
    epochs_done: int  # over all blocks
    epochs_total: int  # over all blocks, if no block is skipped
    loss: float  # mean over the epoch's batches
    train_accuracy: float  # fraction, while training, of the deepest exit being trained
    accuracy: float  # fraction of validation images, deepest exit being trained
    connectivity: float  # connection density of the blocks in training
    spike_rate: float  # validation spikes per neuron and timestep, blocks in training
    regrown: int  # connections that exist now and did not an epoch ago
    training_memory_bytes: int
    wall_s: float  # of this epoch, validation included
    layers: tuple[LayerConnectivity, ...] = ()  # of the blocks in training; empty if dense
    is_reused: bool = False  # the block was loaded from the block cache
    epochs_reused: int = 0  # of `epochs_done`, those of blocks from the cache
    metrics: Mapping[str, float] = field(default_factory=dict)  # reported by an own training

    @property
    def removed(self) -> int:
        """Connections that existed an epoch ago and do not now."""
        return sum(layer.removed for layer in self.layers)

    @property
    def epochs_trained(self) -> int:
        """Epochs of `epochs_done` that were trained by this training itself."""
        return self.epochs_done - self.epochs_reused


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A trained network at given exit thresholds and timesteps, with its metrics."""

    timesteps: int
    exit_thresholds: tuple[float, ...]  # per exit before the last; 1: no image exits
    detector_threshold: float
    blocks: int  # number of first blocks that this point needs
    metrics: Mapping[str, float]  # a value for every name in METRICS
    is_sampled: bool = False  # the point of the run config itself
    label: str = ""  # name among the points of an own training, which has no other settings
    time_threshold: float = 1.0  # as in RunConfig


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """Figures of one spiking layer at full inference: all blocks, all trained timesteps."""

    block: int  # from 1
    name: str
    neurons: int
    weights: int  # possible connections into it
    connections: int  # existing ones
    spikes_per_inference: float
    spike_rate: float  # spikes per neuron and timestep
    synaptic_ops: float  # accumulates into it, per image
    macs: float


@dataclass(frozen=True, kw_only=True)
class ExitReport:
    """Counts of one class at one exit, at the sampled operating point."""

    exit: int  # from 1
    label: int
    images: int  # validation images of the class that exit here
    correct: int
    is_hard: bool  # whether the class is hard after this block


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All results of evaluating a trained network."""

    points: tuple[OperatingPoint, ...]  # the sampled one and the non-dominated ones
    layers: tuple[LayerReport, ...]
    exits: tuple[ExitReport, ...]
    points_evaluated: int  # `points` are those of them that are kept
    wall_s: float
    images: int  # validation images

    @property
    def sampled(self) -> OperatingPoint:
        """The operating point of the run config."""
        return next(point for point in self.points if point.is_sampled)


def energy_nj(accumulates: float, macs: float) -> float:
    """Return the estimated energy of the arithmetic in nJ, without memory traffic."""
    return (accumulates * PJ_PER_ACCUMULATE + macs * PJ_PER_MAC) / 1000


def is_finite(metrics: Mapping[str, float]) -> bool:
    """Return whether every metric is a finite number."""
    return all(math.isfinite(value) for value in metrics.values())

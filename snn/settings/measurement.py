"""What is measured of a network, declared once: names, units, directions, meanings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of a network at an operating point."""

    name: str
    unit: str  # "" for fractions and counts without one
    better: Literal["higher", "lower"]
    meaning: str

    @property
    def sign(self) -> int:
        """Factor that makes lower better."""
        return -1 if self.better == "higher" else 1


_ALL = (
    Metric(
        name="accuracy",
        unit="",
        better="higher",
        meaning="fraction of validation images classified correctly",
    ),
    Metric(
        name="synaptic_ops",
        unit="ops",
        better="lower",
        meaning="accumulates per image: spikes times the connections that exist behind them, "
        "borders exact, only blocks and timesteps that ran, heads included",
    ),
    Metric(
        name="macs",
        unit="ops",
        better="lower",
        meaning="multiply-accumulates per image, in connections fed with real numbers",
    ),
    Metric(
        name="est_energy_nj",
        unit="nJ",
        better="lower",
        meaning="estimate per image: 0.9 pJ per accumulate and 4.6 pJ per multiply-accumulate "
        "(32-bit float, 45 nm, Horowitz ISSCC 2014), memory traffic not counted",
    ),
    Metric(
        name="spikes_per_inference",
        unit="spikes",
        better="lower",
        meaning="spikes of all neurons that ran, per image",
    ),
    Metric(
        name="latency_steps",
        unit="steps",
        better="lower",
        meaning="spiking layers updated one after another per image: timesteps times layers "
        "on the way to the exit taken",
    ),
    Metric(
        name="mean_timesteps",
        unit="steps",
        better="lower",
        meaning="timesteps run per image",
    ),
    Metric(
        name="mean_blocks",
        unit="blocks",
        better="lower",
        meaning="blocks run per image",
    ),
    Metric(
        name="training_memory_bytes",
        unit="B",
        better="lower",
        meaning="weights, gradients, optimizer state and what is kept for the backward pass, "
        "at the stage of training that needs most, for one batch",
    ),
    Metric(
        name="model_bytes",
        unit="B",
        better="lower",
        meaning="stored network, heads included: 32-bit weights that are not zero plus one bit "
        "per possible connection to say which, or all weights where that is smaller",
    ),
    Metric(
        name="connectivity",
        unit="",
        better="lower",
        meaning="fraction of connections that exist",
    ),
    Metric(
        name="parameters",
        unit="",
        better="lower",
        meaning="trained numbers of blocks and exits, counting connections that do not exist",
    ),
    Metric(
        name="training_s",
        unit="s",
        better="lower",
        meaning="wall time of training, validation passes not included",
    ),
)

PJ_PER_ACCUMULATE = 0.9  # 32-bit float addition at 45 nm (Horowitz, ISSCC 2014)
PJ_PER_MAC = 4.6  # the same with a multiplication of 3.7 pJ

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


@dataclass(frozen=True, kw_only=True)
class LayerConnectivity:
    """The connections into one layer, or of an exit's readout, after an epoch."""

    name: str
    weights: int  # possible connections
    connections: int  # those that exist
    regrown: int  # exist now and did not an epoch ago
    pruned: int  # existed an epoch ago and do not now


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one epoch showed."""

    block: int  # block being trained, from 1; 0 when all are trained at once
    epoch: int  # within that block, from 1
    epochs_done: int  # over all blocks
    epochs_total: int  # over all blocks, if none is left out
    loss: float  # mean over the epoch's batches
    train_accuracy: float  # fraction, while training, of the deepest exit being trained
    accuracy: float  # fraction of validation images, deepest exit being trained
    connectivity: float  # fraction of connections that exist in what is being trained
    spike_rate: float  # validation spikes per neuron and timestep in what is being trained
    regrown: int  # connections that exist now and did not an epoch ago
    training_memory_bytes: int
    wall_s: float  # of this epoch, validation included
    layers: tuple[LayerConnectivity, ...] = ()  # of what is being trained; none where dense
    is_reused: bool = False  # of a block that was trained before and is taken from the block cache
    epochs_reused: int = 0  # of `epochs_done`, those of such blocks

    @property
    def pruned(self) -> int:
        """Connections that existed an epoch ago and do not now."""
        return sum(layer.pruned for layer in self.layers)

    @property
    def epochs_trained(self) -> int:
        """Of `epochs_done`, those that this training really trained."""
        return self.epochs_done - self.epochs_reused


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A trained network run at given exit thresholds and timesteps."""

    timesteps: int
    exit_thresholds: tuple[float, ...]  # per exit before the last; at 1 nothing leaves
    detector_threshold: float
    blocks: int  # blocks that have to be kept to run at this point
    metrics: Mapping[str, float]  # a value for every name in METRICS
    is_sampled: bool = False  # the point that the run config asked for


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """One spiking layer at full inference: every block, every trained timestep."""

    block: int  # from 1
    name: str
    neurons: int
    weights: int  # possible connections into it
    connections: int  # those that exist
    spikes_per_inference: float
    spike_rate: float  # spikes per neuron and timestep
    synaptic_ops: float  # accumulates of its inputs, per image
    macs: float


@dataclass(frozen=True, kw_only=True)
class ExitReport:
    """What one class did at one exit, at the sampled operating point."""

    exit: int  # from 1
    label: int
    images: int  # validation images of the class that left here
    correct: int
    is_hard: bool  # whether the class was still hard behind this block


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that evaluating a trained network gave."""

    points: tuple[OperatingPoint, ...]  # the sampled one and those no other dominates
    layers: tuple[LayerReport, ...]
    exits: tuple[ExitReport, ...]
    points_evaluated: int  # of which `points` are the ones kept
    wall_s: float
    images: int  # validation images

    @property
    def sampled(self) -> OperatingPoint:
        """The operating point that the run config asked for."""
        return next(point for point in self.points if point.is_sampled)


def energy_nj(accumulates: float, macs: float) -> float:
    """Estimated energy of the arithmetic, nanojoules; no memory traffic."""
    return (accumulates * PJ_PER_ACCUMULATE + macs * PJ_PER_MAC) / 1000


def is_finite(metrics: Mapping[str, float]) -> bool:
    """Whether every figure is a number that can be compared."""
    return all(math.isfinite(value) for value in metrics.values())

"""RunConfig: all settings of one training, checked when the config is made.

Each field declares its range and meaning once. The study file, the search space, the
command line and the documentation read that declaration (`SETTINGS`).
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from snn.settings import extensions
from snn.settings.architecture import (
    ArchitectureError,
    format_architecture,
    parse_architecture,
    shape_fault,
)
from snn.settings.backbones import BACKBONES, NAMES
from snn.settings.conflicts import STEP_RULES, conflicts
from snn.settings.datasets import DATASETS, RECORDINGS, frame_shape, is_recorded
from snn.settings.partition import format_partition, parse_partition
from snn.settings.setting import (
    ConfigError,
    Fault,
    Kind,
    Setting,
    choice,
    fraction,
    integer,
    nearest,
    real,
)
from snn.settings.units import Unit

__all__ = [
    "DATASETS",
    "SETTINGS",
    "ConfigError",
    "Fault",
    "Kind",
    "RunConfig",
    "Setting",
    "current_names",
    "first_names",
    "nearest",
    "unknown_setting",
]

T = TypeVar("T")

extensions.load()  # the names they add are choices of the settings below

OF_EXTENSION = f"; if an extension defines it, name the extension in {extensions.VARIABLE}"
# The loss that each learning rule over time was published with; the other rules: mean-readout.
USUAL_LOSSES = {**dict.fromkeys(STEP_RULES, "instantaneous"), "spike-bp": "squared-error"}
SURROGATE_RULES = {"time_rule": ("bptt", "ottt-a", "ottt-o", "saf-e", "saf-f")}
SPIKING_RULES = {"time_rule": (*SURROGATE_RULES["time_rule"], "spike-bp", "membrane-trace", "dsr")}
CONVERTED = {"time_rule": ("conversion",)}
RECORDED = {"encoding": ("events", "delta")}
CLOCK = ("leak_ms", "clip_ms", "timesteps")  # what leak follows from
PRECISIONS = ("float32", "bfloat16", "auto")
DEFAULT_BACKBONE = "resnet7"
MEMORY_MODES = ("full", "packed", "checkpointed", "auto")
DETECTORS = {"all": "none", "hard": "head"}  # default detector of each value of block_classes
SURROGATE_SLOPES = {"atan": 2.0, "triangular": 1.0, "sigmoid": 4.0, "fast-sigmoid": 2.0}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All settings of one training and of its sampled operating point.

    Settings that are left out take a default that follows from other settings:
    `backbone` resnet7 unless an `architecture` is given (a text that is that of a named backbone
    becomes its name), `partition` one block of all units, `leak` 0.5 (1 for conversion),
    `surrogate_slope` the surrogate's usual slope, `detector` the one that `block_classes` needs,
    `loss` the one that the learning rule over time was published with,
    `inference_timesteps` the trained `timesteps`. A single
    exit threshold holds for all exits. A network of one block is trained end-to-end,
    whatever `space_rule` says. Settings of `PER_BLOCK` may be tuples with a number for each
    block, although their type says one; `of_block` has the numbers of one block. Equal settings
    have equal fingerprints.

    Raises ConfigError with every fault.
    """

    # data
    dataset: str = choice(
        "digits", DATASETS, "data set of images or recordings to classify", unknown=OF_EXTENSION
    )
    train_images: int = integer(
        0, "training images to use, a class-stratified subset; 0 = all", low=0
    )
    validation_fraction: float = real(
        0.2,
        "fraction of the training images held out for validation; a search decides on these",
        low=0,
        high=0.9,
        open_low=True,
    )
    augmentation: str = choice(
        "none", ("none", "shift", "crop-flip"), "random change of each training image"
    )
    encoding: str = choice(
        "",
        ("direct", "poisson", "events", "delta"),
        "input encoding: of images as a constant current at every timestep (direct) or as signed "
        "random spikes (poisson), of recordings their events (events), of series an event for "
        "each delta_threshold that a value moves (delta). Default: direct, events or delta, as "
        "the data set needs",
    )

    # recordings: how time, polarities and pixels are cut
    binning: str = choice(
        "",
        ("window", "whole", "count"),
        "bins of a recording, one for each timestep: equal parts of clip_ms (window, the "
        "default), equal parts of the time from its first to its last event (whole), or equal "
        "numbers of events (count); only window is causal",
        without="",
        only_with=RECORDED,
    )
    clip_ms: float = real(
        0.0,
        "time of each recording that is used, from its start, milliseconds; 0 = as the data set "
        "says. With binning window a timestep is clip_ms / timesteps",
        low=0,
        high=4e6,
        without=0.0,
        only_with=RECORDED,
    )
    event_value: str = choice(
        "",
        ("binary", "counts"),
        "input of a bin: a spike where there is any event (binary, the default), or their number, "
        "at most 255 (counts)",
        without="",
        only_with=RECORDED,
    )
    polarity: str = choice(
        "",
        ("two", "merged", "signed"),
        "polarities of a camera: OFF and ON as two channels (two, the default), as one (merged), "
        "or one with the sign of ON - OFF (signed)",
        without="",
        only_with=RECORDED,
    )
    shrink: int = integer(
        1,
        "side of the windows of pixels that become one input",
        low=1,
        high=64,
        without=1,
        only_with=RECORDED,
    )
    delta_threshold: float = real(
        0.0,
        "change of a value that makes an event, in standard deviations of the training part; "
        "0 = 0.25",
        low=0,
        high=1000,
        without=0.0,
        only_with={"encoding": ("delta",)},
    )

    # architecture
    backbone: str = choice(
        "",
        BACKBONES,
        f"architecture by name, a list of units; {DEFAULT_BACKBONE} if architecture is not given",
        unknown=OF_EXTENSION,
        without="",
    )
    architecture: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(
                kind="text",
                meaning="architecture as a text instead of a name, a word for each unit, like "
                "c1wp r2w r4w/2: kind, channels (with w in multiples of width), options",
                without="",
            )
        },
    )
    width: int = integer(
        16,
        "base number of channels (or neurons); each unit has a multiple of it",
        low=1,
        high=65_536,
    )
    partition: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(
                kind="text", meaning="units per block, like 2+1+1; each block ends with an exit"
            )
        },
    )
    pooling: str = choice(
        "average",
        ("average", "max", "spiking"),
        "output of a 2x2 pool between layers: the mean of its spikes, their maximum, or the "
        "spikes of a neuron that sums the means and fires above 0.75; exits pool by the mean",
    )
    feedback: str = choice(
        "none",
        ("none", "last-to-first"),
        "feedback within each block, delayed by one timestep: none, or from the block's output "
        "to its first layer, through connections that start at zero",
    )
    head_hidden: int = integer(
        64,
        "hidden spiking neurons of each exit; 0 = no hidden layer",
        low=0,
        high=1_000_000,
        per_block=True,
    )
    head_grid: int = integer(
        4, "side of the map that each exit pools its input to, pixels", low=1, high=65_536
    )

    readout: str = choice(
        "integrator",
        ("integrator", "spiking"),
        "output neurons of an exit: integrators that never fire, or spiking neurons whose spikes "
        "are counted",
    )
    votes: int = integer(
        1, "output neurons per class, whose outputs are averaged", low=1, high=65_536
    )

    # neuron
    neuron: str = choice(
        "fixed",
        ("fixed", "learned", "thresholds"),
        "leak and threshold of the neurons: fixed at their settings, both learned per layer from "
        "there, or the threshold of every neuron learned (thresholds; in maps of every channel)",
    )
    threshold_balance: float = real(
        0.0,
        "change of a neuron's relative threshold at each optimizer step, times its share of its "
        "layer's spikes over the mean share, less 1: busy neurons become harder to fire, silent "
        "ones easier, and the sum is conserved. 0 = none",
        low=0,
        high=1,
        without=0.0,
    )
    leak: float = fraction(
        None,
        "decay factor of the membrane potential per timestep; 1 = no leak. Default: 1 with "
        "time_rule conversion, else 0.5",
        per_block=True,
    )
    threshold: float = real(
        1.0, "membrane potential at which a neuron fires", low=0, open_low=True, per_block=True
    )
    leak_ms: float = real(
        0.0,
        "time constant of the membrane potential, milliseconds, with which leak follows from the "
        "length of a timestep; 0 = leak says it",
        low=0,
        high=1e6,
        without=0.0,
        only_with=RECORDED,
    )
    firing_share: float = fraction(
        1.0,
        "fraction of the threshold at which a neuron fires; reset subtracts the whole threshold",
        open_low=True,
    )
    reset: str = choice(
        "soft",
        ("soft", "hard"),
        "reset after a spike: subtract the threshold (soft), or set the potential to zero (hard)",
    )
    readout_leak: float = fraction(
        1.0,
        "decay factor of the output integrators per timestep; 1 = no leak, a running mean",
        open_low=True,
    )
    surrogate: str = choice("atan", SURROGATE_SLOPES, "surrogate derivative of the spike function")
    surrogate_slope: float = real(
        None, "steepness of the surrogate derivative", low=0, open_low=True, high=1000
    )
    surrogate_height: float = real(
        0.0,
        "largest value of the surrogate derivative, that at the threshold; 0 = that of the "
        "surrogate at its slope",
        low=0,
        high=1000,
        without=0.0,
        only_with=SURROGATE_RULES,
    )
    gradient_growth: float = real(
        0.0,
        "growth of the gradients of the currents from one layer to the layer before it, which the "
        "height of the surrogate is calibrated to on one batch before the training; 1 = gradients "
        "of equal size, 0 = no calibration",
        low=0,
        high=10,
        without=0.0,
        only_with={"time_rule": ("bptt",)},
    )
    norm: str = choice(
        "weight-standardised",
        ("weight-standardised", "batch-over-time", "none"),
        "normalisation of the input currents",
    )

    # dropout, connectivity
    dropout: float = fraction(
        0.0,
        "fraction of neurons set silent per image in training, the same ones at all timesteps",
        open_high=True,
        per_block=True,
    )
    target_sparsity: float = fraction(
        0.0,
        "fraction of connections that are removed at the end of training",
        open_high=True,
        per_block=True,
    )
    rewiring: str = choice(
        "closed-loop",
        ("closed-loop", "open-loop", "deep-r", "deep-r-soft", "magnitude", "stds"),
        "method of sparse training: Grad R with a threshold controlled to reach the target "
        "(closed-loop) or with its published prior (open-loop); Deep R, hard or soft; magnitude "
        "pruning without regrowth; a soft threshold controlled to reach the target (stds)",
    )
    rewiring_ramp: float = fraction(
        0.75,
        "fraction of the training over which sparsity rises to the target; Deep R is sparse from "
        "the start, open-loop follows its prior",
        open_low=True,
    )
    rewiring_every: int = integer(10, "optimizer steps from one rewiring to the next", low=1)
    prior_strength: float = real(
        1e-3, "alpha of open-loop's Laplace prior, and of Deep R's drift towards zero", low=0
    )
    rewiring_temperature: float = real(
        1e-4, "temperature of Deep R's random walk, squared weight per step size", low=0
    )

    # rules
    time_rule: str = choice(
        "bptt",
        (
            "bptt",
            "spike-bp",
            "ottt-a",
            "ottt-o",
            "saf-e",
            "saf-f",
            "membrane-trace",
            "dsr",
            "conversion",
        ),
        "learning rule over time: backpropagation through time (bptt) or from spike to spike "
        "(spike-bp), forward in time with traces (ottt-a, ottt-o) or accumulated spikes (saf-e, "
        "saf-f; membrane-trace by the potentials of neurons that fired), gradients of mean rates "
        "(dsr), or none: a network without time is trained and "
        "converted (conversion)",
    )
    error_norm: str = choice(
        "none",
        ("none", "layer"),
        "normalisation of the errors of membrane-trace: none, or per layer and image by the "
        "neurons that fired and by the threshold (layer)",
        without="none",
        only_with={"time_rule": ("membrane-trace",)},
    )
    rate_map: str = choice(
        "relu",
        ("relu", "rate-norm", "qcfs"),
        "activation that conversion trains with: ReLU (relu), ReLU over its running maximum, "
        "clipped at 1 (rate-norm), or ReLU clipped at a trained threshold and quantised (qcfs)",
        without="relu",
        only_with=CONVERTED,
    )
    calibration: str = choice(
        "percentile",
        ("max", "percentile", "spike-norm"),
        "threshold of each layer of a converted ReLU network: its largest activation on training "
        "images (max), a percentile of them (percentile), or the largest current of its neurons "
        "in the spiking network (spike-norm)",
        without="percentile",
        only_with={**CONVERTED, "rate_map": ("relu",)},
    )
    calibration_percentile: float = real(
        99.9,
        "percentile of the activations, for calibration percentile",
        low=0,
        high=100,
        open_low=True,
        without=99.9,
        only_with={**CONVERTED, "rate_map": ("relu",), "calibration": ("percentile",)},
    )
    quantisation_steps: int = integer(
        4,
        "levels above 0 of an activation of rate_map qcfs; exact at as many timesteps",
        low=1,
        high=65_536,
        without=4,
        only_with={**CONVERTED, "rate_map": ("qcfs",)},
    )
    rate_inference: float = real(
        0.0,
        "weight of the convergence time in the Rate Inference Loss, which chooses one factor for "
        "all thresholds after conversion; 0 = no factor",
        low=0,
        without=0.0,
        only_with=CONVERTED,
    )
    start: str = choice(
        "random",
        ("random", "ann"),
        "weights and thresholds before the training: random weights and the setting threshold, or "
        "those of the same network trained without time for start_epochs, each layer's threshold "
        "a percentile of its activations (ann)",
        without="random",
        only_with=SPIKING_RULES,
    )
    start_epochs: int = integer(
        5,
        "epochs without time before the training; they do not count in a budget",
        low=1,
        without=5,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
    start_percentile: float = real(
        99.7,
        "percentile of the activations of a layer that is its threshold at the start",
        low=0,
        high=100,
        open_low=True,
        without=99.7,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
    start_scale: float = real(
        1.0,
        "factor of the thresholds at the start",
        low=0,
        open_low=True,
        high=100,
        without=1.0,
        only_with={**SPIKING_RULES, "start": ("ann",)},
    )
    space_rule: str = choice(
        "block-local",
        ("block-local", "end-to-end"),
        "learning rule over blocks: each block trained after the one before it, by its own exit "
        "(block-local), or all blocks together (end-to-end)",
    )
    block_classes: str = choice(
        "all",
        ("all", "hard"),
        "classes that the blocks after the first are trained on: all, or the hard ones",
    )
    class_rule: str = choice(
        "value",
        ("value", "mean", "worst-fraction"),
        "classes that are hard after a block: those with a score below class_threshold (value), "
        "below the mean of the block's classes (mean), or the lowest ones (worst-fraction)",
    )
    class_score: str = choice(
        "recall",
        ("recall", "precision"),
        "score of a class: validation accuracy over the images with its label (recall), or over "
        "the images predicted as it (precision)",
    )
    class_threshold: float = fraction(0.9, "score from which a class is easy, for class_rule value")
    hard_fraction: float = fraction(
        0.5, "fraction of a block's classes that are hard, for class_rule worst-fraction"
    )
    detector: str = choice(
        "",
        ("none", "mass", "head", "predicted"),
        "detection of hard inputs, which do not exit: none, by the probability of the hard "
        "classes (mass), by a trained output (head), or by a predicted class that is hard",
    )
    timesteps: int = integer(
        4, "timesteps in training, and at most at inference", low=1, high=1_000_000
    )
    memory_mode: str = choice(
        "full",
        MEMORY_MODES,
        "what bptt stores for the backward pass: everything (full), spikes as bits (packed), or "
        "membrane states only, with the timesteps between recomputed (checkpointed: activation "
        "checkpointing); auto takes the first that fits memory_limit_mb",
        earlier={"chunked": "checkpointed"},
    )
    micro_batch: int = integer(
        0,
        "images of a batch that run through the network together, the others after them; fewer "
        "need less memory. 0 = all; on a CPU at most a number that its memory serves well",
        low=0,
    )
    memory_limit_mb: int = integer(
        0, "limit of training memory for memory_mode auto, megabytes; 0 = no limit", low=0
    )

    precision: str = choice(
        "float32",
        PRECISIONS,
        "number type in which training maps spikes to currents; weights, potentials, the image's "
        "current and all evaluation stay in float32. auto: bfloat16 where the processor has "
        "AVX512-BF16 or AMX, or the GPU has it, else float32; what was chosen is recorded",
    )

    # optimization
    epochs: int = integer(10, "passes over the training images, for each block", low=1)
    batch_size: int = integer(64, "images per optimizer step", low=1)
    optimizer: str = choice("adam", ("adam", "sgd"), "optimizer; sgd has momentum 0.9")
    learning_rate: float = real(1e-2, "peak learning rate", low=0, open_low=True, high=1000)
    schedule: str = choice("cosine", ("cosine", "constant"), "learning rate over the training")
    weight_decay: float = real(
        0.0, "decoupled weight decay, of existing connections only", low=0, high=1000
    )
    loss: str = choice(
        "",
        ("mean-readout", "each-step", "instantaneous", "squared-error"),
        "training loss: cross-entropy of the mean output over all timesteps (mean-readout), of "
        "the mean up to each timestep (each-step), or of each timestep's output (instantaneous); "
        "or summed squared distance of the mean output from the one-hot label (squared-error)",
    )
    seed: int = integer(0, "seed of all random numbers", low=0, high=2**63 - 1)

    # operating point
    exit_threshold: tuple[float, ...] = dataclasses.field(
        default=(0.9,),
        metadata={
            "setting": Setting(
                kind="reals",
                low=0,
                high=1,
                operating=True,
                meaning="confidence threshold of each exit before the last: an image exits if its "
                "highest class probability after all timesteps is at least this; 1 = never",
            )
        },
    )
    detector_threshold: float = fraction(
        0.5, "highest probability of being hard at which an image may exit", operating=True
    )
    exit_combination: str = choice(
        "nested",
        ("nested", "last", "maximum", "mean"),
        "class probabilities of an image from its visited exits: each exit redistributes the "
        "probability of the hard classes (nested), the last exit alone, the most confident exit "
        "(maximum), or the mean of all",
        operating=True,
    )
    time_threshold: float = fraction(
        1.0,
        "confidence at which the last exit answers before the last timestep; below 1, each exit "
        "answers at the first timestep at which it is confident enough. 1 = never",
        operating=True,
        without=1.0,
    )
    threshold_scale: float = real(
        1.0,
        "factor of all thresholds of a converted network and of the connections between its "
        "neurons: rates rise by its inverse",
        low=0,
        open_low=True,
        high=100,
        operating=True,
        without=1.0,
        only_with=CONVERTED,
    )
    initial_potential: float = fraction(
        0.5,
        "membrane potential of a converted network before the first timestep, as a fraction of "
        "the threshold",
        open_high=True,
        operating=True,
        without=0.5,
        only_with=CONVERTED,
    )
    inference_timesteps: int = integer(
        None,
        "timesteps at inference, the same for every image; at most timesteps",
        low=1,
        operating=True,
    )

    def __post_init__(self) -> None:
        faults = self._complete()
        for name, setting in SETTINGS.items():
            if name == "backbone" and self.architecture:
                continue  # empty, or in conflict with the text
            message = setting.fault(getattr(self, name))
            if message and not any(fault.key == name for fault in faults):
                faults.append(Fault(key=name, message=message))
        if not faults:
            for block in range(self.exits if self.of_block(0) is not self else 1):
                faults.extend(f for f in conflicts(self.of_block(block)) if f not in faults)
            faults.extend(self._shape_faults())
        if faults:
            raise ConfigError(faults)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _complete(self) -> list[Fault]:
        """Fill in the defaults that follow; return faults of the partition and its exits."""
        for name, setting in SETTINGS.items():
            self._set(name, setting.current(getattr(self, name)))
        if self.encoding == "":
            self._set("encoding", _usual_encoding(self.dataset))
        self._reset_unused()
        faults = self._complete_recording()
        if self.surrogate_slope is None and self.surrogate in SURROGATE_SLOPES:
            self._set("surrogate_slope", SURROGATE_SLOPES[self.surrogate])
        if self.leak is None:
            self._set("leak", _usual_leak(self.time_rule))
        if self.inference_timesteps is None:
            self._set("inference_timesteps", self.timesteps)
        if self.detector == "":
            self._set("detector", DETECTORS.get(self.block_classes, ""))
        if self.loss == "":
            self._set("loss", _usual_loss(self.time_rule, self.readout))
        faults += self._complete_architecture()
        if faults or (self.backbone and self.backbone not in BACKBONES):
            return faults
        if not isinstance(self.partition, str):
            return []
        faults = self._complete_partition(len(self.units))
        return faults or [*self._complete_exits(), *self._complete_block_values()]

    def _complete_recording(self) -> list[Fault]:
        """Fill in the defaults of recordings, and the leak that follows from a time constant."""
        if not is_recorded(self.dataset) or self.encoding not in RECORDED["encoding"]:
            return []
        if self.binning == "":
            self._set("binning", "window")
        if self.event_value == "":
            self._set("event_value", "binary")
        if self.polarity == "" and DATASETS[self.dataset][0][0] == 2:
            self._set("polarity", "two")
        if self.encoding == "delta" and self.delta_threshold == 0:
            self._set("delta_threshold", 0.25)
        if self.leak_ms == 0 or any(SETTINGS[n].fault(getattr(self, n)) for n in CLOCK):
            return []
        leak = math.exp(-(self.used_ms / self.timesteps) / self.leak_ms)
        if self.leak not in (None, leak):
            message = f"must be left out with leak_ms, from which it follows, got {self.leak}"
            return [Fault(key="leak", message=message)]
        self._set("leak", leak)
        return []

    @property
    def used_ms(self) -> float:
        """Milliseconds of each recording that are used; 0 for images."""
        known = RECORDINGS.get(self.dataset)
        return self.clip_ms or (known.clip_ms if known else 0.0)

    @property
    def step_ms(self) -> float | None:
        """Milliseconds of a timestep; None for images and for bins of no fixed length."""
        return self.used_ms / self.timesteps if self.binning == "window" else None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the input of one timestep."""
        shape, _ = DATASETS[self.dataset]
        return frame_shape(shape, polarity=self.polarity, shrink=self.shrink)

    def _reset_unused(self) -> None:
        """Give settings that do not apply their default: equal trainings have equal names."""
        for name, setting in SETTINGS.items():
            applies = all(getattr(self, n) in values for n, values in setting.only_with.items())
            if not applies and setting.fault(getattr(self, name)) is None:
                self._set(name, _DEFAULTS[name])

    def _complete_architecture(self) -> list[Fault]:
        """Make one of `backbone` and `architecture` empty; a text has its canonical form."""
        if self.architecture == "":
            self._set("backbone", self.backbone or DEFAULT_BACKBONE)
            return []
        if message := SETTINGS["architecture"].fault(self.architecture):
            return [Fault(key="architecture", message=message)]
        try:
            text = format_architecture(parse_architecture(self.architecture))
        except ArchitectureError as error:
            return [Fault(key="architecture", message=str(error))]
        name = NAMES.get(text, "")
        if self.backbone not in ("", name):
            message = f"is given beside backbone {self.backbone!r}; remove one of them"
            return [Fault(key="architecture", message=message)]
        self._set("backbone", name)
        self._set("architecture", "" if name else text)
        if not name and not any(unit.in_widths for unit in self.units):
            self._set("width", RunConfig.width)  # no unit depends on it
        return []

    def _shape_faults(self) -> list[Fault]:
        """Return the fault of units that cannot follow one another; named ones always can."""
        if not self.architecture:
            return []
        image = self.input_shape
        message = shape_fault(self.units, image, self.width)
        return [Fault(key="architecture", message=message)] if message else []

    def _complete_partition(self, units: int) -> list[Fault]:
        if self.partition == "":
            self._set("partition", str(units))
        try:
            blocks = parse_partition(self.partition)
        except ValueError as error:
            return [Fault(key="partition", message=str(error))]
        if sum(blocks) > units:
            message = (
                f"must cover at most the {units} units of {self.title}, "
                f"got {self.partition!r} with {sum(blocks)}"
            )
            return [Fault(key="partition", message=message)]
        self._set("partition", format_partition(blocks))
        if len(blocks) == 1:
            self._set("space_rule", "end-to-end")
        return []

    def _complete_exits(self) -> list[Fault]:
        given = self.exit_threshold
        values = tuple(given) if isinstance(given, list | tuple) else (given,)
        exits = len(self.blocks) - 1
        if len(values) == 1:
            values = values * exits
        if len(values) != exits and exits > 0:
            message = f"must have one value, or {exits} for partition {self.partition}, got {given}"
            return [Fault(key="exit_threshold", message=message)]
        setting = SETTINGS["exit_threshold"]
        self._set("exit_threshold", tuple(setting.current(value) for value in values[:exits]))
        return []

    def _complete_block_values(self) -> list[Fault]:
        """Make lists with one value for each block of settings that may have them.

        Equal values are one number. Blocks with values of their own are trained one after another.
        """
        faults = []
        for name in PER_BLOCK:
            values = getattr(self, name)
            if not isinstance(values, tuple | list):
                continue
            if len(values) != self.exits:
                message = (
                    f"must have one value, or {self.exits} for partition {self.partition}, "
                    f"got {list(values)}"
                )
                faults.append(Fault(key=name, message=message))
            elif len(set(values)) == 1:
                self._set(name, values[0])
            elif self.stages == 1:
                message = (
                    "has a value for each block, which needs blocks that are trained one after "
                    "another; set space_rule to 'block-local'"
                )
                faults.append(Fault(key=name, message=message))
        return faults

    def of_block(self, block: int) -> "RunConfig":
        """Return the config with the values of one block, from 0, for all of them."""
        own = {name: v for name in PER_BLOCK if isinstance(v := getattr(self, name), tuple)}
        if not own:
            return self
        return dataclasses.replace(self, **{name: values[block] for name, values in own.items()})

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units of the architecture, those after the last block included."""
        if self.backbone:
            return BACKBONES[self.backbone].units
        return parse_architecture(self.architecture)

    @property
    def title(self) -> str:
        """The name of the architecture, or its text."""
        return self.backbone or self.architecture

    @property
    def blocks(self) -> tuple[int, ...]:
        """Units in each block."""
        return parse_partition(self.partition)

    @property
    def exits(self) -> int:
        """Number of exits: one per block, the last included."""
        return len(self.blocks)

    @property
    def has_identity_skip(self) -> bool:
        """Whether a unit has a skip without weights."""
        plans = (plan for unit in self.units for plan in unit.layers((1, 1, 1), 1))
        return any(plan.skip is not None for plan in plans)

    @property
    def start_config(self) -> "RunConfig":
        """The config of the training without time before this one. Raises ConfigError."""
        plain = {"firing_share": 1.0, "reset": "soft", "neuron": "fixed", "threshold": 1.0}
        dense = {"target_sparsity": 0.0, "threshold_balance": 0.0}
        return self.replace(
            time_rule="conversion",
            rate_map="relu",
            calibration="percentile",
            calibration_percentile=self.start_percentile,
            epochs=self.start_epochs,
            leak=1.0,
            readout_leak=1.0,
            loss="mean-readout",
            memory_mode="full",
            memory_limit_mb=0,
            precision="float32",
            **plain,
            **dense,
        )

    @property
    def is_whole(self) -> bool:
        """Whether all images of a batch train together: statistics are taken over them."""
        return self.norm == "batch-over-time" or self.rate_map == "rate-norm"

    @property
    def stages(self) -> int:
        """Number of successive trainings: one per block when block-local, otherwise one."""
        return self.exits if self.space_rule == "block-local" else 1

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages together: the unit of a study's budget."""
        return self.epochs * self.stages

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "RunConfig":
        """Return a config from a TOML table. Raises ConfigError: unknown names, bad values."""
        faults = [unknown_setting(name) for name in values if name not in SETTINGS]
        given = {name: value for name, value in values.items() if name in SETTINGS}
        known: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in given.items()
        }
        try:
            config = cls(**known)
        except ConfigError as error:
            faults.extend(error.faults)
        if faults:
            raise ConfigError(faults)
        return config

    def to_mapping(self) -> dict[str, Any]:
        """Return every field that applies (`Setting.without`) by name, as types that TOML has."""
        values = {n: v for n, s in SETTINGS.items() if s.applies(v := getattr(self, n))}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    def replace(self, **changes: Any) -> "RunConfig":
        """Return the config with some settings changed, checked again.

        A setting that had the default following from a changed setting takes the new
        default. A config of one block has no `space_rule` to keep: with more blocks it takes
        the default.
        """
        if "timesteps" in changes and self.inference_timesteps == self.timesteps:
            changes = {"inference_timesteps": None, **changes}
        if "dataset" in changes and self.encoding == _usual_encoding(self.dataset):
            usual_polarity = "" if self.polarity == "two" else self.polarity
            changes = {"encoding": "", "polarity": usual_polarity, **changes}
        if self.leak_ms > 0:
            changes = {"leak": None, **changes}
        if "surrogate" in changes and self.surrogate_slope == SURROGATE_SLOPES[self.surrogate]:
            changes = {"surrogate_slope": None, **changes}
        if "time_rule" in changes and self.leak == _usual_leak(self.time_rule):
            changes = {"leak": None, **changes}
        usual = _usual_loss(self.time_rule, self.readout)
        if changes.keys() & {"time_rule", "readout"} and self.loss == usual:
            changes = {"loss": "", **changes}
        if "block_classes" in changes and self.detector == DETECTORS[self.block_classes]:
            changes = {"detector": "", **changes}
        if changes.keys() & {"backbone", "architecture"}:
            changes = {"backbone": "", "architecture": "", **changes}
            if self.partition == str(len(self.units)):
                changes = {"partition": "", **changes}
        cut = changes.keys() & {"partition", "backbone"}
        if cut and self.exits == 1:
            changes = {"space_rule": RunConfig.space_rule, **changes}
        if cut and len(set(self.exit_threshold)) < 2:
            same = self.exit_threshold[:1] or (RunConfig.exit_threshold[0],)
            changes = {"exit_threshold": same, **changes}
        return dataclasses.replace(self, **changes)

    def prefix(self, blocks: int) -> "RunConfig":
        """Return the config of the first `blocks` blocks, with the thresholds of their exits.

        For block-local training, training this config gives the same weights of these blocks.
        """
        if blocks == self.exits:
            return self
        own = {n: v[:blocks] for n in PER_BLOCK if isinstance(v := getattr(self, n), tuple)}
        return self.replace(
            **own,
            partition=format_partition(self.blocks[:blocks]),
            exit_threshold=self.exit_threshold[: blocks - 1] or RunConfig.exit_threshold,
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits over every setting: the name of this run."""
        return _digest(self.to_mapping())

    @property
    def training_fingerprint(self) -> str:
        """16 hex digits over every setting but the operating point: the name of the training."""
        trained = {n: v for n, v in self.to_mapping().items() if not SETTINGS[n].operating}
        return _digest(trained)


def _usual_encoding(dataset: str) -> str:
    known = RECORDINGS.get(dataset)
    if known is None:
        return "direct"
    return "delta" if known.kind == "series" else "events"


def _usual_leak(time_rule: str) -> float:
    return 1.0 if time_rule == "conversion" else 0.5


def _usual_loss(time_rule: str, readout: str) -> str:
    if time_rule == "bptt" and readout == "spiking":
        return "squared-error"  # of spike counts, as in Grad R
    return USUAL_LOSSES.get(time_rule, "mean-readout")


def _digest(values: Mapping[str, Any]) -> str:
    """Return the digest of settings; renamed values count by their first name, as stored."""
    text = json.dumps(first_names(values), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def unknown_setting(name: str) -> Fault:
    """Return the fault of a name that is not a field of RunConfig."""
    hint = nearest(name, SETTINGS) or f"; known: {', '.join(SETTINGS)}"
    return Fault(key=name, message=f"is not a setting of a run{hint}")


SETTINGS: dict[str, Setting] = {
    field.name: field.metadata["setting"] for field in dataclasses.fields(RunConfig)
}
PER_BLOCK = tuple(name for name, setting in SETTINGS.items() if setting.per_block)
"""Settings that may have a value for each block."""
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(RunConfig)}
_RENAMED = {name: setting for name, setting in SETTINGS.items() if setting.earlier}


def current_names(values: Mapping[str, T]) -> dict[str, T]:
    """Return settings with names of values of earlier versions replaced; whatever is read has them.

    Lists of values are translated too. Nothing else is changed or checked.
    """
    return {**values, **_renamed(values, lambda setting, value: setting.current(value))}


def first_names(values: Mapping[str, T]) -> dict[str, T]:
    """Return settings with renamed values by the name that they had first, for fingerprints."""
    return {**values, **_renamed(values, lambda setting, value: setting.first_name(value))}


def _renamed(values: Mapping[str, Any], rename: Callable[[Setting, Any], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _RENAMED.keys() & values.keys():
        setting, value = _RENAMED[name], values[name]
        is_list = isinstance(value, list | tuple)
        found[name] = (
            type(value)(rename(setting, v) for v in value) if is_list else rename(setting, value)
        )
    return found

"""RunConfig: everything that one training depends on, checked when it is made.

Each field declares its range and meaning once; the study file, the space, the
command line and the documentation all read that declaration (`SETTINGS`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snn.settings import extensions
from snn.settings.backbones import BACKBONES
from snn.settings.conflicts import STEP_RULES, time_rule_faults
from snn.settings.datasets import DATASETS
from snn.settings.partition import format_partition, parse_partition
from snn.settings.setting import ConfigError, Fault, Kind, Setting, choice, integer, nearest, real

__all__ = [
    "DATASETS",
    "SETTINGS",
    "ConfigError",
    "Fault",
    "Kind",
    "RunConfig",
    "Setting",
    "nearest",
    "unknown_setting",
]

extensions.load()  # their names are choices of the settings below

USUAL_LOSSES = {  # what each rule in time was published with; the others average the readout
    **dict.fromkeys(STEP_RULES, "instantaneous"),
    "spike-bp": "squared-error",
}
PRECISIONS = ("float32", "bfloat16")
MEMORY_MODES = ("full", "packed", "chunked", "auto")
DETECTORS = {"all": "none", "hard": "head"}  # by the classes that deeper blocks train on
SURROGATE_SLOPES = {"atan": 2.0, "triangular": 1.0, "sigmoid": 4.0, "fast-sigmoid": 2.0}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that one training, and its sampled operating point, depends on.

    Settings left out take the value of their choice: `partition` one block of
    all units, `surrogate_slope` the surrogate's usual one, `detector` what the
    class routing needs, `loss` what the rule in time was published with,
    `inference_timesteps` the trained `timesteps`. A single
    exit threshold stands for all exits. With one block nothing can be local, so
    `space_rule` is then end-to-end. Equal settings have equal fingerprints.

    Raises ConfigError naming every fault.
    """

    # data
    dataset: str = choice("digits", DATASETS, "images to classify")
    train_images: int = integer(
        0, "training images used, a class-stratified subset; 0 uses all", low=0
    )
    validation_fraction: float = real(
        0.2,
        "share of the training images held out for every choice that is made",
        low=0,
        high=0.9,
        open_low=True,
    )
    augmentation: str = choice(
        "none", ("none", "shift", "crop-flip"), "random change of each training image"
    )
    encoding: str = choice(
        "direct",
        ("direct", "poisson"),
        "the image as a current at every timestep, or as signed random spikes",
    )

    # architecture
    backbone: str = choice("resnet7", BACKBONES, "named architecture, a list of units")
    width: int = integer(16, "channels (or neurons) of the first unit", low=1)
    partition: str = dataclasses.field(
        default="",
        metadata={
            "setting": Setting(kind="text", meaning="units per block, like 2+1+1; each block exits")
        },
    )
    pooling: str = choice(
        "average",
        ("average", "max", "spiking"),
        "what a 2x2 window between layers passes on: the mean of its spikes, their maximum, or "
        "the spikes of a neuron that sums the means and fires above 0.75; exit heads take means",
    )
    feedback: str = choice(
        "none",
        ("none", "last-to-first"),
        "what returns one timestep later to the first layer of each block: nothing, or what "
        "leaves the block, through connections that begin at zero",
    )
    head_hidden: int = integer(
        64, "spiking neurons in each exit head; 0 reads the block directly", low=0
    )
    head_grid: int = integer(4, "side of the map that an exit head pools to, pixels", low=1)

    readout: str = choice(
        "integrator",
        ("integrator", "spiking"),
        "class targets that integrate and never fire, or neurons whose spikes are counted",
    )
    votes: int = integer(1, "targets per class, whose outputs are averaged", low=1)

    # neuron
    neuron: str = choice(
        "fixed",
        ("fixed", "learned"),
        "leak and threshold stay as they are set, or every layer learns its own from there",
    )
    leak: float = real(0.5, "share of the membrane potential kept per timestep", low=0, high=1)
    threshold: float = real(1.0, "membrane potential at which a neuron fires", low=0, open_low=True)
    firing_share: float = real(
        1.0,
        "share of the threshold from which a neuron fires; its reset subtracts the whole",
        low=0,
        open_low=True,
        high=1,
    )
    reset: str = choice("soft", ("soft", "hard"), "subtract the threshold, or return to zero")
    readout_leak: float = real(
        1.0,
        "share of an exit's integrators kept per timestep; 1 makes them a running mean",
        low=0,
        open_low=True,
        high=1,
    )
    surrogate: str = choice("atan", SURROGATE_SLOPES, "derivative that stands in for the spike's")
    surrogate_slope: float = real(
        None, "steepness of the surrogate", low=0, open_low=True, high=1000
    )
    norm: str = choice(
        "weight-standardised",
        ("weight-standardised", "batch-over-time", "none"),
        "normalisation of the input currents",
    )

    # dropout, connectivity
    dropout: float = real(
        0.0, "share of neurons silenced per image, for all timesteps", low=0, high=1, open_high=True
    )
    target_sparsity: float = real(
        0.0, "share of connections that must be gone at the end", low=0, high=1, open_high=True
    )
    rewiring: str = choice(
        "closed-loop",
        ("closed-loop", "open-loop", "deep-r", "deep-r-soft", "magnitude", "stds"),
        "Grad R with a threshold that follows the target, or its published prior; Deep R, hard "
        "or soft; magnitude pruning without return; a soft threshold that follows the target",
    )
    rewiring_ramp: float = real(
        0.75,
        "share of the training over which sparsity rises; Deep R has it from the start, the open "
        "loop as its prior goes",
        low=0,
        high=1,
        open_low=True,
    )
    rewiring_every: int = integer(10, "optimizer steps between rewirings", low=1)
    prior_strength: float = real(
        1e-3, "alpha of the open loop's Laplace prior, and of Deep R's drift towards zero", low=0
    )
    rewiring_temperature: float = real(
        1e-4, "temperature of Deep R's random walk, squared weight per step size", low=0
    )

    # rules
    time_rule: str = choice(
        "bptt",
        ("bptt", "spike-bp", "ottt-a", "ottt-o", "saf-e", "saf-f", "dsr"),
        "how error flows through time: backwards, backwards from spike to spike, forwards by "
        "traces or accumulated spikes, or not at all but through mean rates",
    )
    space_rule: str = choice(
        "block-local", ("block-local", "end-to-end"), "blocks one after another, or all at once"
    )
    block_classes: str = choice(
        "all", ("all", "hard"), "classes that deeper blocks train on: all, or those still hard"
    )
    class_rule: str = choice(
        "value",
        ("value", "mean", "worst-fraction"),
        "which classes are hard: those that score below class_threshold, "
        "below the mean of the block's classes, or worst",
    )
    class_score: str = choice(
        "recall",
        ("recall", "precision"),
        "validation accuracy of a class: of the images with its label, or of those taken for it",
    )
    class_threshold: float = real(
        0.9, "validation accuracy from which a class is easy, for class_rule value", low=0, high=1
    )
    hard_fraction: float = real(
        0.5,
        "share of a block's classes that are hard, for class_rule worst-fraction",
        low=0,
        high=1,
    )
    detector: str = choice(
        "",
        ("none", "mass", "head", "predicted"),
        "what tells hard inputs: nothing, the probability on hard classes, a trained head, "
        "or a predicted class that is hard",
    )
    timesteps: int = integer(4, "timesteps of training and full inference", low=1)
    memory_mode: str = choice(
        "full",
        MEMORY_MODES,
        "what bptt keeps for its way back: everything, spikes as bits, or states from which "
        "stretches of time are run again; auto takes the first that fits memory_limit_mb",
    )
    micro_batch: int = integer(
        0,
        "images of a batch that are taken through the network together, the others after them: "
        "fewer need less memory; 0 for all, on a processor up to what its memory serves well",
        low=0,
    )
    memory_limit_mb: int = integer(
        0, "training memory that memory_mode auto may use, megabytes; 0 for any", low=0
    )

    precision: str = choice(
        "float32",
        PRECISIONS,
        "number type in which training maps spikes to currents; weights, potentials, the image's "
        "current and all evaluation stay in float32",
    )

    # optimization
    epochs: int = integer(10, "passes over the training data, for each block", low=1)
    batch_size: int = integer(64, "images per optimizer step", low=1)
    optimizer: str = choice("adam", ("adam", "sgd"), "optimizer; sgd has momentum 0.9")
    learning_rate: float = real(1e-2, "peak step size", low=0, open_low=True)
    schedule: str = choice("cosine", ("cosine", "constant"), "course of the step size")
    weight_decay: float = real(
        0.0, "decay of connections that exist, apart from the gradient", low=0
    )
    loss: str = choice(
        "",
        ("mean-readout", "each-step", "instantaneous", "squared-error"),
        "cross-entropy of the mean readout at the end, of that until each timestep, "
        "or of each timestep's own; or the squared distance of the first from one-hot, summed",
    )
    seed: int = integer(0, "seed of everything random", low=0)

    # operating point
    exit_threshold: tuple[float, ...] = dataclasses.field(
        default=(0.9,),
        metadata={
            "setting": Setting(
                kind="reals",
                low=0,
                high=1,
                operating=True,
                meaning="confidence at which an input leaves, per exit before the last",
            )
        },
    )
    detector_threshold: float = real(
        0.5,
        "highest probability of being hard with which an input may leave",
        low=0,
        high=1,
        operating=True,
    )
    exit_combination: str = choice(
        "nested",
        ("nested", "last", "maximum", "mean"),
        "what the visited exits say together: hard classes shared out anew by each, the last "
        "exit's word, the most confident one's, or the mean of all",
        operating=True,
    )
    inference_timesteps: int = integer(
        None, "timesteps run at inference, at most the trained ones", low=1, operating=True
    )

    def __post_init__(self) -> None:
        faults = self._complete()
        for name, setting in SETTINGS.items():
            message = setting.fault(getattr(self, name))
            if message and not any(fault.key == name for fault in faults):
                faults.append(Fault(key=name, message=message))
        if not faults:
            faults.extend(self._conflicts())
        if faults:
            raise ConfigError(faults)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _complete(self) -> list[Fault]:
        """Fill in what was left out; returns faults of the partition and its exits."""
        for name, setting in SETTINGS.items():
            value = getattr(self, name)
            if setting.kind == "real" and type(value) is int:
                self._set(name, float(value))
        if self.surrogate_slope is None and self.surrogate in SURROGATE_SLOPES:
            self._set("surrogate_slope", SURROGATE_SLOPES[self.surrogate])
        if self.inference_timesteps is None:
            self._set("inference_timesteps", self.timesteps)
        if self.detector == "":
            self._set("detector", DETECTORS.get(self.block_classes, ""))
        if self.loss == "":
            self._set("loss", _usual_loss(self.time_rule, self.readout))
        if self.backbone not in BACKBONES or not isinstance(self.partition, str):
            return []
        faults = self._complete_partition(len(BACKBONES[self.backbone].units))
        return faults or self._complete_exits()

    def _complete_partition(self, units: int) -> list[Fault]:
        if self.partition == "":
            self._set("partition", str(units))
        try:
            blocks = parse_partition(self.partition)
        except ValueError as error:
            return [Fault(key="partition", message=str(error))]
        if sum(blocks) > units:
            message = (
                f"must cover at most the {units} units of {self.backbone}, "
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
        numeric = [float(v) if isinstance(v, int | float) else v for v in values[:exits]]
        self._set("exit_threshold", tuple(numeric))
        return []

    def _conflicts(self) -> list[Fault]:
        """Settings that are fine alone but not together."""
        faults = []
        if self.inference_timesteps > self.timesteps:
            message = (
                f"must be at most timesteps ({self.timesteps}), got {self.inference_timesteps}"
            )
            faults.append(Fault(key="inference_timesteps", message=message))
        if self.rewiring == "open-loop" and 0 < self.target_sparsity < 0.5:
            message = (
                "must be 0 or at least 0.5 with rewiring 'open-loop' (its prior is not defined "
                f"below), got {self.target_sparsity}; use rewiring 'closed-loop'"
            )
            faults.append(Fault(key="target_sparsity", message=message))
        if self.rewiring == "deep-r-soft" and self.target_sparsity > 0:
            for name in ("prior_strength", "rewiring_temperature"):
                if getattr(self, name) == 0:
                    message = (
                        "must be above 0 with rewiring 'deep-r-soft', whose lower bound is their "
                        "ratio; use rewiring 'deep-r'"
                    )
                    faults.append(Fault(key=name, message=message))
        if self.block_classes == "hard" and self.space_rule == "end-to-end" and self.exits > 1:
            message = (
                "'hard' needs blocks that are trained one after another: set space_rule "
                "to 'block-local', or block_classes to 'all'"
            )
            faults.append(Fault(key="block_classes", message=message))
        if self.readout == "spiking" and self.readout_leak != 1:
            message = (
                f"must be 1 with readout 'spiking', whose spikes are counted, got "
                f"{self.readout_leak:g}; use readout 'integrator'"
            )
            faults.append(Fault(key="readout_leak", message=message))
        return faults + time_rule_faults(self)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Units in each block."""
        return parse_partition(self.partition)

    @property
    def exits(self) -> int:
        """Exit heads, one per block, the last included."""
        return len(self.blocks)

    @property
    def stages(self) -> int:
        """Trainings one after another: one per block when local, otherwise one."""
        return self.exits if self.space_rule == "block-local" else 1

    @property
    def total_epochs(self) -> int:
        """Epochs of all stages together, the unit of a study's budget."""
        return self.epochs * self.stages

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "RunConfig":
        """A config from a TOML table. Raises ConfigError for unknown names and bad values."""
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
        """Every field by name, as TOML can hold it."""
        values = {name: getattr(self, name) for name in SETTINGS}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    def replace(self, **changes: Any) -> "RunConfig":
        """The same config with some settings changed; checked again.

        What was left out and followed from a changed setting follows from it again;
        one block has no rule in space to remember, so that more blocks take the usual one.
        """
        if "timesteps" in changes and self.inference_timesteps == self.timesteps:
            changes = {"inference_timesteps": None, **changes}
        if "surrogate" in changes and self.surrogate_slope == SURROGATE_SLOPES[self.surrogate]:
            changes = {"surrogate_slope": None, **changes}
        usual = _usual_loss(self.time_rule, self.readout)
        if changes.keys() & {"time_rule", "readout"} and self.loss == usual:
            changes = {"loss": "", **changes}
        if "block_classes" in changes and self.detector == DETECTORS[self.block_classes]:
            changes = {"detector": "", **changes}
        if "backbone" in changes and self.partition == str(len(BACKBONES[self.backbone].units)):
            changes = {"partition": "", **changes}
        if changes.keys() & {"partition", "backbone"} and self.exits == 1:
            changes = {"space_rule": RunConfig.space_rule, **changes}
        if changes.keys() & {"partition", "backbone"} and len(set(self.exit_threshold)) < 2:
            same = self.exit_threshold[:1] or (RunConfig.exit_threshold[0],)
            changes = {"exit_threshold": same, **changes}
        return dataclasses.replace(self, **changes)

    def prefix(self, blocks: int) -> "RunConfig":
        """The config of the first `blocks` blocks, at its operating point without the exits behind.

        Where blocks are trained one after another, training it gives their weights.
        """
        if blocks == self.exits:
            return self
        return self.replace(
            partition=format_partition(self.blocks[:blocks]),
            exit_threshold=self.exit_threshold[: blocks - 1] or RunConfig.exit_threshold,
        )

    @property
    def fingerprint(self) -> str:
        """Names this run: 16 hex digits over every setting."""
        return _digest(self.to_mapping())

    @property
    def training_fingerprint(self) -> str:
        """Names what is trained: the fingerprint without the operating point."""
        trained = {n: v for n, v in self.to_mapping().items() if not SETTINGS[n].operating}
        return _digest(trained)


def _usual_loss(time_rule: str, readout: str) -> str:
    if time_rule == "bptt" and readout == "spiking":
        return "squared-error"  # of spike counts, as in Grad R
    return USUAL_LOSSES.get(time_rule, "mean-readout")


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def unknown_setting(name: str) -> Fault:
    """The fault of a name that is no field of RunConfig."""
    hint = nearest(name, SETTINGS) or f"; known: {', '.join(SETTINGS)}"
    return Fault(key=name, message=f"is not a setting of a run{hint}")


SETTINGS: dict[str, Setting] = {
    field.name: field.metadata["setting"] for field in dataclasses.fields(RunConfig)
}

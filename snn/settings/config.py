"""RunConfig: all settings of one training, checked when the config is made.

The modules of `declared` state the range and the meaning of each setting once. The study file, the
search space, the command line and the documentation read that declaration (`SETTINGS`); what
follows from several settings together is completed and checked here.
"""

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from snn.settings.architecture import (
    ArchitectureError,
    format_architecture,
    parse_architecture,
    shape_fault,
)
from snn.settings.backbones import BACKBONES, NAMES
from snn.settings.conflicts import conflicts
from snn.settings.datasets import DATASETS, RECORDINGS, frame_shape, is_recorded
from snn.settings.declared.block_rules import BlockRuleSettings
from snn.settings.declared.connectivity import ConnectivitySettings
from snn.settings.declared.data import DataSettings
from snn.settings.declared.encoder import EncoderSettings
from snn.settings.declared.memory import MemorySettings
from snn.settings.declared.network import DEFAULT_BACKBONE, NetworkSettings
from snn.settings.declared.neuron import SURROGATE_SLOPES, NeuronSettings
from snn.settings.declared.operating import OperatingSettings
from snn.settings.declared.optimization import OptimizationSettings
from snn.settings.declared.recordings import RECORDED, RecordingSettings
from snn.settings.declared.stdp import StdpSettings
from snn.settings.declared.time_rules import TimeRuleSettings
from snn.settings.first_spikes import FIRST_SPIKES
from snn.settings.partition import format_partition, parse_partition
from snn.settings.rule_conflicts import STEP_RULES
from snn.settings.setting import ConfigError, Fault, Kind, Setting, counted, nearest
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

ANSWER_UNIT = 0.2  # of the time constant of currents: xi of Göltz et al. 2021
# The loss that each learning rule over time was published with; the other rules: mean-readout.
USUAL_LOSSES = {**dict.fromkeys(STEP_RULES, "instantaneous"), "spike-bp": "squared-error"}
FOLLOWING = {name: f"{name}_ms" for name in ("leak", "synaptic_leak", "adaptation_leak")}
"""Decay factors per timestep, and the time constants that they follow from."""
CLOCK = (*FOLLOWING.values(), "clip_ms", "timesteps")
DETECTORS = {"all": "none", "hard": "head"}  # default detector of each value of block_classes


@dataclass(frozen=True, kw_only=True)
class RunConfig(  # dataclasses take fields from the last base to the first
    OperatingSettings,
    OptimizationSettings,
    BlockRuleSettings,
    EncoderSettings,
    StdpSettings,
    TimeRuleSettings,
    ConnectivitySettings,
    MemorySettings,
    NeuronSettings,
    NetworkSettings,
    RecordingSettings,
    DataSettings,
):
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
            self._set("encoding", _usual_encoding(self.dataset, self.time_rule))
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
        """Fill in the defaults of recordings, and the leaks that follow from time constants."""
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
        if any(SETTINGS[n].fault(getattr(self, n)) for n in CLOCK):
            return []
        faults = []
        for name, constant in FOLLOWING.items():
            if getattr(self, constant) == 0:
                continue
            given = getattr(self, name)
            leak = math.exp(-(self.used_ms / self.timesteps) / getattr(self, constant))
            if given not in (_DEFAULTS[name], leak):
                message = f"must be left out with {constant}, from which it follows, got {given}"
                faults.append(Fault(key=name, message=message))
            self._set(name, leak)
        return faults

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
    def input_steps(self) -> int:
        """Timesteps during which the input may spike, from the first one."""
        if self.encoding != "latency":
            return self.timesteps
        return max(1, math.ceil(self.latency_share * self.timesteps))

    @property
    def current_steps(self) -> float:
        """Time constant of the currents of time_rule spike-time, timesteps."""
        return self.current_share * self.timesteps

    @property
    def answer_gain(self) -> float:
        """Output of neurons that fire once, from their spike on: 1 per `ANSWER_UNIT`."""
        return 1 / (ANSWER_UNIT * self.current_share)

    @property
    def longest_delay(self) -> int:
        """Timesteps of the longest delay; 0 without delays."""
        if self.delays == "none":
            return 0
        return self.max_delay or math.ceil(self.timesteps / 4)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the input of one timestep."""
        shape, _ = DATASETS[self.dataset]
        channels, height, width = frame_shape(shape, polarity=self.polarity, shrink=self.shrink)
        return channels * self.encoded_channels, height, width

    @property
    def encoded_channels(self) -> int:
        """Channels of the input for each channel of an image: ON and OFF with encoding rank."""
        return 2 if self.encoding == "rank" else 1

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
                f"must cover at most the {counted(units, 'unit')} of {self.title}, "
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
        one = copy.copy(self)  # no value of a block decides about another setting: nothing to check
        for name, values in own.items():
            one._set(name, values[block])
        return one

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
    def has_own_leaks(self) -> bool:
        """Whether every neuron has a leak of its own."""
        return self.neuron in ("leaks", "individual")

    @property
    def has_own_thresholds(self) -> bool:
        """Whether every neuron has a trained threshold of its own."""
        return self.neuron in ("thresholds", "individual")

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
        return (
            self.time_rule == "encoder"
            or self.norm == "batch-over-time"
            or self.rate_map == "rate-norm"
        )

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
        usual_encoding = _usual_encoding(self.dataset, self.time_rule)
        if changes.keys() & {"dataset", "time_rule"} and self.encoding == usual_encoding:
            usual_polarity = "" if self.polarity == "two" else self.polarity
            changes = {"encoding": "", "polarity": usual_polarity, **changes}
        following = [n for n, ms in FOLLOWING.items() if getattr(self, ms) or changes.get(ms)]
        changes = {**{name: _DEFAULTS[name] for name in following}, **changes}
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


def _usual_encoding(dataset: str, time_rule: str) -> str:
    known = RECORDINGS.get(dataset)
    if known is None:
        usual = {"spike-time": "latency", "encoder": "latency", "stdp": "rank"}
        return usual.get(time_rule, "direct")
    return "delta" if known.kind == "series" else "events"


def _usual_leak(time_rule: str) -> float:
    return 1.0 if time_rule in ("conversion", *FIRST_SPIKES) else 0.5


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

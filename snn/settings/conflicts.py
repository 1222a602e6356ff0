"""Conflicts: settings that are valid alone, but not together. Each message says what to use."""

from typing import Any

from snn.settings.datasets import DATASETS, RECORDINGS
from snn.settings.first_spikes import FIRST_SPIKES
from snn.settings.needed import Conflicts
from snn.settings.rule_conflicts import rule_conflicts
from snn.settings.setting import ConfigError, Fault

Settings = Any  # a RunConfig, whose module imports this one

PLASTIC = ("stdp-count", "stdp-quantile", "stdp-final")
"""Forms of rewiring for the weights of time_rule stdp."""

MOST_SPIKES = 16.0
"""Accumulated spikes up to which bfloat16, which has 8 significant bits, errs by 1/32 of a spike
at most."""


def conflicts(config: Settings) -> list[Fault]:
    """Return a fault for every conflict between the settings of a config."""
    found = [
        *_general(config),
        *_neuron(config),
        *_leaks(config),
        *_thresholds(config),
        *_norm_penalty(config),
        *_recording(config),
        *_start(config),
        *_memory(config),
        *half_precision(config),
        *rule_conflicts(config),
    ]
    return [Fault(key=key, message=message) for key, message in found]


def _general(config: Settings) -> Conflicts:
    if config.inference_timesteps > config.timesteps:
        yield (
            "inference_timesteps",
            f"must be at most timesteps ({config.timesteps}), got {config.inference_timesteps}",
        )
    if config.rewiring == "open-loop" and 0 < config.target_sparsity < 0.5:
        yield (
            "target_sparsity",
            "must be 0 or at least 0.5 with rewiring 'open-loop' (its prior is not defined "
            f"below), got {config.target_sparsity}; use rewiring 'closed-loop'",
        )
    if config.target_sparsity > 0 and (config.time_rule == "stdp") != (config.rewiring in PLASTIC):
        what, use = ("weights", "'closed-loop'")
        if config.time_rule == "stdp":
            what, use = ("plasticity", "'stdp-quantile'")
        yield (
            "rewiring",
            f"{config.rewiring!r} is not possible with time_rule {config.time_rule!r}, whose "
            f"{what} it does not fit; use {use}",
        )
    if config.rewiring == "deep-r-soft" and config.target_sparsity > 0:
        for name in ("prior_strength", "rewiring_temperature"):
            if getattr(config, name) == 0:
                yield (
                    name,
                    "must be above 0 with rewiring 'deep-r-soft' (its lower bound is their "
                    "ratio), got 0; use rewiring 'deep-r'",
                )
    if config.block_classes == "hard" and config.space_rule == "end-to-end" and config.exits > 1:
        yield (
            "block_classes",
            "'hard' needs blocks that are trained one after another: set space_rule "
            "to 'block-local', or block_classes to 'all'",
        )
    is_counted = config.readout == "spiking" and config.time_rule not in FIRST_SPIKES
    if is_counted and config.readout_leak != 1:
        yield (
            "readout_leak",
            "must be 1 with readout 'spiking' (its spikes are counted), got "
            f"{config.readout_leak:g}; use readout 'integrator'",
        )


def _recording(config: Settings) -> Conflicts:
    known = RECORDINGS.get(config.dataset)
    if known is None:
        if config.encoding in ("events", "delta"):
            yield (
                "encoding",
                f"{config.encoding!r} needs recordings over time, which {config.dataset} is not; "
                "use 'direct' or 'poisson'",
            )
        if config.augmentation in ("drop-events", "jitter", "shift-drop-jitter"):
            yield (
                "augmentation",
                f"{config.augmentation!r} changes events, which {config.dataset} has not; "
                "use 'shift' or 'crop-flip'",
            )
        return
    usual = "delta" if known.kind == "series" else "events"
    if config.encoding != usual:
        yield (
            "encoding",
            f"{config.encoding!r} is not possible with the {known.kind} of {config.dataset}; "
            f"use {usual!r}",
        )
        return
    channels = DATASETS[config.dataset][0][0]
    if channels == 1 and config.polarity != "":
        yield (
            "polarity",
            f"must be left out for {config.dataset}, whose events have no polarity, "
            f"got {config.polarity!r}",
        )
    if config.polarity == "signed" and config.event_value == "counts":
        yield (
            "event_value",
            "'counts' is not possible with polarity 'signed', which is -1, 0 or 1; use 'binary'",
        )
    for name in ("leak", "synaptic_leak", "adaptation_leak"):
        if getattr(config, f"{name}_ms") > 0 and config.binning != "window":
            yield (
                f"{name}_ms",
                f"needs bins of a fixed length, which binning {config.binning!r} has not; use "
                f"{name}, or binning 'window'",
            )


def _neuron(config: Settings) -> Conflicts:
    if config.firing_share < 1 and config.reset == "hard":
        yield (
            "firing_share",
            "must be 1 with reset 'hard' (a lower value would only lower the threshold), got "
            f"{config.firing_share:g}; use reset 'soft', or lower threshold",
        )
    if config.feedback != "none" and config.norm == "batch-over-time":
        yield (
            "norm",
            "'batch-over-time' is not possible with feedback, which runs one timestep at "
            "a time; use 'weight-standardised'",
        )
    if config.feedback != "none" and config.time_rule in ("spike-bp", "dsr"):
        why = {
            "spike-bp": "which computes all timesteps of a layer before the next layer",
            "dsr": "which uses mean rates and no single timesteps",
        }[config.time_rule]
        yield (
            "feedback",
            f"{config.feedback!r} is not possible with time_rule {config.time_rule!r}, "
            f"{why}; use 'none', or time_rule 'bptt'",
        )


def _leaks(config: Settings) -> Conflicts:
    if config.leak_spread > 1 and config.leak in (0, 1):
        yield (
            "leak_spread",
            f"has no effect with leak {config.leak:g}, which has no time constant to vary, got "
            f"{config.leak_spread:g}; use another leak, or leak_spread 1",
        )


def _thresholds(config: Settings) -> Conflicts:
    is_moved = config.threshold_balance > 0
    if config.has_identity_skip and (is_moved or config.has_own_thresholds):
        usual = "'leaks'" if config.has_own_leaks else "'learned'"
        key, use = ("threshold_balance", "0") if is_moved else ("neuron", usual)
        yield (
            key,
            f"{getattr(config, key)!r} is not possible with skips without weights, which "
            f"thresholds of neurons cannot be folded into; use {use}",
        )


def _norm_penalty(config: Settings) -> Conflicts:
    if config.weight_norm_penalty > 0 and config.norm != "none":
        yield (
            "weight_norm_penalty",
            f"must be 0 with norm {config.norm!r}, which makes the norm of weights meaningless, "
            f"got {config.weight_norm_penalty:g}; use norm 'none'",
        )
    if config.weight_norm_penalty > 0 and config.time_rule in FIRST_SPIKES:
        yield (
            "weight_norm_penalty",
            f"must be 0 with time_rule {config.time_rule!r}, whose weights do not begin with that "
            f"norm, got {config.weight_norm_penalty:g}",
        )


def _start(config: Settings) -> Conflicts:
    if config.start != "ann":
        return
    if config.norm != "none":
        yield (
            "norm",
            f"{config.norm!r} is not possible with start 'ann', whose weights a norm would change; "
            "use 'none'",
        )
    if config.stages > 1:
        yield (
            "start",
            "'ann' is not possible with blocks that are trained one after another; use 'random', "
            "or space_rule 'end-to-end'",
        )
    if config.readout == "spiking":
        yield "readout", "'spiking' is not possible with start 'ann'; use 'integrator'"
        return
    try:
        config.start_config  # noqa: B018  # checks itself
    except ConfigError as error:
        for fault in error.faults:
            yield fault.key, f"does not fit start 'ann': {fault.message}"


def _memory(config: Settings) -> Conflicts:
    mode, rule = config.memory_mode, config.time_rule
    if rule != "bptt" and mode in ("packed", "checkpointed"):
        yield (
            "memory_mode",
            f"{mode!r} has an effect only with time_rule 'bptt', got {rule!r}; use 'full'",
        )
    if mode == "checkpointed" and config.norm == "batch-over-time":
        yield (
            "memory_mode",
            "'checkpointed' is not possible with norm 'batch-over-time', which needs all "
            "timesteps at once; use memory_mode 'packed' or norm 'weight-standardised'",
        )
    if config.norm == "batch-over-time":
        for name in ("batch_size", "train_images"):
            if getattr(config, name) == 1:
                yield (
                    name,
                    "must be at least 2 with norm 'batch-over-time', which takes its statistics "
                    "over the images of a batch, got 1; use norm 'weight-standardised'",
                )
    if config.micro_batch > 0 and config.norm == "batch-over-time":
        yield (
            "micro_batch",
            "must be 0 with norm 'batch-over-time', which takes its statistics over the whole "
            f"batch, got {config.micro_batch}; use norm 'weight-standardised'",
        )
    if config.micro_batch > 0 and rule in ("ottt-o", "saf-e"):
        yield (
            "micro_batch",
            f"must be 0 with time_rule {rule!r}, which updates the weights from the whole batch "
            f"at every timestep, got {config.micro_batch}; use a smaller batch_size",
        )
    if config.memory_limit_mb > 0 and mode != "auto":
        yield (
            "memory_limit_mb",
            f"has an effect only with memory_mode 'auto', got {config.memory_limit_mb} with "
            f"{mode!r}; use memory_mode 'auto', or memory_limit_mb 0",
        )


def half_precision(config: Settings) -> Conflicts:
    """Yield why spikes cannot be mapped in bfloat16, for a config that asks for it."""
    if config.precision != "bfloat16":
        return
    why = {
        "conversion": "maps rates, which half precision rounds",
        "dsr": "has a derivative that jumps where a rounded drive crosses zero or the threshold",
        "membrane-trace": "has no derivative where a rounded potential crosses the threshold",
        "spike-time": "has spike times, which half precision rounds",
        "encoder": "learns from scores that half precision would round",
        "stdp": "moves weights by less than half precision holds",
    }.get(config.time_rule)
    if why is not None:
        yield (
            "precision",
            f"'bfloat16' is not possible with time_rule {config.time_rule!r}, which {why}; "
            "use 'float32', or time_rule 'bptt'",
        )
    if config.time_rule not in ("saf-e", "saf-f"):
        return
    length = largest = 0.0
    for _ in range(min(config.timesteps, 1000)):
        length = config.leak * length + 1
        largest = config.synaptic_leak * largest + length
    if largest > MOST_SPIKES:
        yield (
            "precision",
            f"'bfloat16' is not possible with time_rule {config.time_rule!r}, leak "
            f"{config.leak:g} and {config.timesteps} timesteps: it maps accumulated spikes, which "
            f"bfloat16 rounds to eighths of a spike above {MOST_SPIKES:g}; "
            "use 'float32', a lower leak, or time_rule 'ottt-o'",
        )

"""Conflicts: settings that are fine alone but that a rule in time cannot serve together.

Each is refused by name, with what to use instead.
"""

import math
from collections.abc import Iterator
from typing import Any

from snn.settings.setting import Fault

Settings = Any  # a RunConfig, whose module imports this one

STEP_RULES = ("ottt-a", "ottt-o", "saf-e")
"""Rules in time with a loss at every timestep."""

HALF_RULES = ("bptt", "spike-bp")
"""Rules in time that map spikes alone, which half precision holds exactly."""


def time_rule_faults(config: Settings) -> list[Fault]:
    """What the neurons and the rule in time of a config cannot do."""
    return [
        *_neuron_faults(config),
        *_memory_faults(config),
        *_parts_faults(config),
        *_precision_faults(config),
        *_rule_faults(config),
    ]


def _precision_faults(config: Settings) -> Iterator[Fault]:
    rule = config.time_rule
    if config.precision == "float32" or rule in HALF_RULES:
        return
    why = {
        "dsr": "maps mean rates, which half precision rounds",
        "saf-e": "maps accumulated spikes, which half precision rounds",
        "saf-f": "maps accumulated spikes, which half precision rounds",
    }.get(rule, "sums traces, with which half precision was not tried")
    yield Fault(
        key="precision",
        message=f"{config.precision!r} is not possible with time_rule {rule!r}, which {why}; "
        "use 'float32', or time_rule 'bptt'",
    )


def _memory_faults(config: Settings) -> Iterator[Fault]:
    mode = config.memory_mode
    if config.time_rule != "bptt" and mode in ("packed", "chunked"):
        yield Fault(
            key="memory_mode",
            message=f"{mode!r} is of use only to time_rule 'bptt'; {config.time_rule!r} "
            "keeps what it needs: use 'full'",
        )
    if mode == "chunked" and config.norm == "batch-over-time":
        yield Fault(
            key="memory_mode",
            message="'chunked' is not possible with norm 'batch-over-time', which needs all "
            "timesteps at once; use memory_mode 'packed' or norm 'weight-standardised'",
        )


def _parts_faults(config: Settings) -> Iterator[Fault]:
    """Of what is to save memory."""
    if config.micro_batch > 0 and config.norm == "batch-over-time":
        yield Fault(
            key="micro_batch",
            message="must be 0 with norm 'batch-over-time', whose statistics are those of the "
            f"whole batch, got {config.micro_batch}; use norm 'weight-standardised'",
        )
    if config.micro_batch > 0 and config.time_rule in ("ottt-o", "saf-e"):
        yield Fault(
            key="micro_batch",
            message=f"must be 0 with time_rule {config.time_rule!r}, which learns from the whole "
            f"batch at every timestep, got {config.micro_batch}; use a smaller batch_size",
        )
    if config.memory_limit_mb > 0 and config.memory_mode != "auto":
        yield Fault(
            key="memory_limit_mb",
            message=f"must be 0 with memory_mode {config.memory_mode!r}, which nothing chooses, "
            f"got {config.memory_limit_mb}; use memory_mode 'auto'",
        )


def _neuron_faults(config: Settings) -> Iterator[Fault]:
    if config.firing_share < 1 and config.reset == "hard":
        yield Fault(
            key="firing_share",
            message="must be 1 with reset 'hard', where firing early is no more than a lower "
            f"threshold, got {config.firing_share:g}; use reset 'soft', or lower threshold",
        )
    if config.feedback != "none" and config.norm == "batch-over-time":
        yield Fault(
            key="norm",
            message="'batch-over-time' is not possible with feedback, which runs one timestep at "
            "a time; use 'weight-standardised'",
        )


def _rule_faults(config: Settings) -> list[Fault]:
    if config.time_rule == "bptt":
        return []
    if config.time_rule == "spike-bp":
        return list(_spike_bp_faults(config))
    return list(_forward_faults(config))


def _feedback_fault(config: Settings) -> Iterator[Fault]:
    """Of the rules that need the whole run of a layer before the next one's."""
    if config.feedback != "none":
        why = {
            "spike-bp": "takes a layer's whole run before the next layer's",
            "dsr": "knows mean rates alone, and none of a timestep ago",
        }[config.time_rule]
        yield Fault(
            key="feedback",
            message=f"{config.feedback!r} is not possible with time_rule {config.time_rule!r}, "
            f"which {why}; use 'none', or time_rule 'bptt'",
        )


def _spike_bp_faults(config: Settings) -> Iterator[Fault]:
    yield from _feedback_fault(config)
    if config.reset == "soft":
        yield Fault(
            key="reset",
            message="'soft' is not possible with time_rule 'spike-bp', where a spike ends the "
            "path of the error; use 'hard'",
        )
    if config.neuron == "learned":
        yield Fault(
            key="neuron",
            message="'learned' is not possible with time_rule 'spike-bp', whose derivative of a "
            "spike has none by leak and threshold; use 'fixed'",
        )
    if config.readout == "spiking":
        yield Fault(
            key="readout",
            message="'spiking' is not possible with time_rule 'spike-bp', where a class target "
            "that never fired would never get an error; use 'integrator'",
        )
    if config.leak <= 1 / math.e:
        yield Fault(
            key="leak",
            message="must be above 1/e (0.368) with time_rule 'spike-bp', whose correction for "
            f"the leak, 1 + ln(leak), would turn the error round, got {config.leak:g}; "
            "it was published with 0.99",
        )
    if config.loss in ("each-step", "instantaneous"):
        yield Fault(
            key="loss",
            message=f"{config.loss!r} is not possible with time_rule 'spike-bp', which corrects "
            "its derivative once for the whole run; use 'squared-error' or 'mean-readout'",
        )


def _forward_faults(config: Settings) -> Iterator[Fault]:
    """Of the rules that run forward in time."""
    rule = config.time_rule
    if rule == "dsr":
        yield from _feedback_fault(config)
    if config.reset == "hard":
        message = f"'hard' is not possible with time_rule {rule!r}; use 'soft'"
        yield Fault(key="reset", message=message)
    if config.norm == "batch-over-time":
        message = (
            f"'batch-over-time' is not possible with time_rule {rule!r}, which never sees "
            "all timesteps at once; use 'weight-standardised'"
        )
        yield Fault(key="norm", message=message)
    if config.neuron == "learned":
        message = (
            f"'learned' is not possible with time_rule {rule!r}, which needs the same leak "
            "at every timestep and layer; use 'fixed'"
        )
        yield Fault(key="neuron", message=message)
    if config.pooling != "average":
        message = (
            f"{config.pooling!r} is not possible with time_rule {rule!r}, whose signals pass "
            "through pools that are linear; use 'average'"
        )
        yield Fault(key="pooling", message=message)
    if config.readout == "spiking" and not rule.startswith("ottt-"):
        message = (
            f"'spiking' is not possible with time_rule {rule!r}, whose class targets "
            "never fire; use 'integrator'"
        )
        yield Fault(key="readout", message=message)
    if rule in STEP_RULES and config.loss in ("mean-readout", "squared-error"):
        message = (
            f"{config.loss!r} is known only at the end, but time_rule {rule!r} learns at "
            "every timestep; use 'instantaneous' or 'each-step'"
        )
        yield Fault(key="loss", message=message)
    if rule in ("saf-f", "dsr") and config.readout_leak != 1:
        message = (
            f"must be 1 with time_rule {rule!r}, which learns from one weighted mean of the "
            f"spikes, got {config.readout_leak:g}"
        )
        yield Fault(key="readout_leak", message=message)
    if rule in ("saf-f", "dsr") and config.loss != "mean-readout":
        message = f"must be 'mean-readout' with time_rule {rule!r}, got {config.loss!r}"
        yield Fault(key="loss", message=message)

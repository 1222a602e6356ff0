"""Conflicts of a learning rule over time: what its mathematics does not have."""

import math
from typing import Any

from snn.settings.encoder import encoder
from snn.settings.first_spikes import FIRST_SPIKES, first_spikes
from snn.settings.needed import Conflicts, Needed, other_than, unmet
from snn.settings.units import DenseUnit

Settings = Any  # a RunConfig, whose module imports this one

STEP_RULES = ("ottt-a", "ottt-o", "saf-e")
"""Learning rules over time with a loss at every timestep."""

FINAL_RULES = ("saf-f", "membrane-trace", "dsr")
"""Learning rules over time that learn from one weighted mean of the spikes."""

CONVERTED: Needed = {
    "leak": (1.0, "whose rates are sums of inputs that never decay"),
    "firing_share": (1.0, "which has initial_potential for it"),
    "reset": ("soft", "whose rates keep what is above the threshold"),
    "neuron": ("fixed", "which sets the thresholds itself"),
    "readout": ("integrator", "whose outputs are real numbers"),
    "readout_leak": (1.0, "whose outputs are means over time"),
    "pooling": ("average", "which needs linear pools"),
    "feedback": ("none", "which trains without time"),
    "encoding": ("direct", "which trains without time"),
    "block_classes": ("all", "whose classes would be hard at some timesteps only"),
}


def rule_conflicts(config: Settings) -> Conflicts:
    """Yield the key of each setting that the config's `time_rule` does not fit, and a message."""
    rule = config.time_rule
    if rule in FIRST_SPIKES:
        yield from first_spikes(config)
        return
    if rule == "encoder":
        yield from encoder(config)
        return
    yield from _memories(config)
    yield from _recurrence(config)
    yield from _delays(config)
    yield from _inhibition(config)
    if rule == "spike-bp":
        yield from _spike_bp(config)
    elif rule == "conversion":
        yield from _conversion(config)
    elif rule != "bptt":
        yield from _forward(config)


def _memories(config: Settings) -> Conflicts:
    """Yield why a rule has no gradient for what neurons keep beside their potential."""
    why = {
        "spike-bp": "whose derivative of a spike knows the potential alone",
        "dsr": "whose rates are those of LIF neurons",
        "saf-f": "whose rates are those of LIF neurons",
        "conversion": "which trains without time",
    }.get(config.time_rule, "whose traces are those of LIF neurons")
    if config.adaptation > 0 and (config.neuron == "learned" or config.has_own_leaks):
        what = "leak" if config.has_own_leaks else "threshold"
        yield (
            "adaptation",
            f"must be 0 with neuron {config.neuron!r}, got {config.adaptation:g}: a {what} has no "
            "gradient of its own while thresholds adapt; use neuron 'fixed' or 'thresholds'",
        )
    if config.time_rule not in ("bptt", *STEP_RULES):
        yield from other_than(config, "synaptic_leak", 0.0, why, instead="bptt")
        yield from other_than(config, "adaptation", 0.0, why, instead="bptt")


def _recurrence(config: Settings) -> Conflicts:
    why = {
        "spike-bp": "which computes all timesteps of a layer at once",
        "dsr": "which uses mean rates and no single timesteps",
        "conversion": "which trains without time",
        "membrane-trace": "whose traces are linear functions of other layers' traces alone",
    }.get(config.time_rule)
    if why is not None:
        yield from other_than(config, "recurrence", "none", why, instead="bptt")


def _delays(config: Settings) -> Conflicts:
    if config.delays == "none":
        return
    why = {
        "dsr": "which uses mean rates and no single timesteps",
        "conversion": "which trains without time",
    }.get(config.time_rule, "whose errors stay in a timestep and never reach an earlier spike")
    if config.time_rule not in ("bptt", "spike-bp"):
        yield from other_than(config, "delays", "none", why, instead="bptt")
    if config.longest_delay >= config.timesteps:
        yield (
            "max_delay",
            f"must be below timesteps ({config.timesteps}), after which nothing arrives, got "
            f"{config.longest_delay}; use a lower max_delay, or more timesteps",
        )


def _inhibition(config: Settings) -> Conflicts:
    is_dense = all(isinstance(unit, DenseUnit) for unit in config.units)
    if config.lateral_inhibition > 0 and not is_dense:
        yield (
            "lateral_inhibition",
            f"must be 0 with {config.title!r}, which has layers of maps, got "
            f"{config.lateral_inhibition:g}; use dense units, like architecture 'd300'",
        )


def _spike_bp(config: Settings) -> Conflicts:
    if config.reset == "soft":
        yield (
            "reset",
            "'soft' is not possible with time_rule 'spike-bp', which lets no error pass a spike; "
            "use 'hard'",
        )
    if config.neuron != "fixed":
        yield (
            "neuron",
            f"{config.neuron!r} is not possible with time_rule 'spike-bp', which defines no "
            "gradient for leak and threshold; use 'fixed'",
        )
    if config.readout == "spiking":
        yield (
            "readout",
            "'spiking' is not possible with time_rule 'spike-bp', which gives no error to an "
            "output neuron that never fired; use 'integrator'",
        )
    if config.leak <= 1 / math.e:
        yield (
            "leak",
            "must be above 1/e (0.368) with time_rule 'spike-bp', whose correction for the leak, "
            f"1 + ln(leak), would reverse the error's sign, got {config.leak:g}; "
            "it was published with 0.99",
        )
    if config.loss in ("each-step", "instantaneous"):
        yield (
            "loss",
            f"{config.loss!r} is not possible with time_rule 'spike-bp', which corrects "
            "its derivative once for all timesteps; use 'squared-error' or 'mean-readout'",
        )


def _conversion(config: Settings) -> Conflicts:
    """Yield the conflicts of conversion: its law needs neurons that integrate and never forget."""
    yield from unmet(config, CONVERTED)
    if config.loss not in ("mean-readout", "squared-error"):
        yield "loss", f"{config.loss!r} has no meaning without timesteps; use 'mean-readout'"
    if config.rate_map == "relu" and config.threshold != 1:
        yield (
            "threshold",
            f"must be 1 with rate_map 'relu', whose thresholds are calibrated, got "
            f"{config.threshold:g}",
        )
    if config.rate_map == "rate-norm" and config.micro_batch > 0:
        yield (
            "micro_batch",
            "must be 0 with rate_map 'rate-norm', whose running maximum is of the whole batch, "
            f"got {config.micro_batch}; use a smaller batch_size",
        )
    if config.has_identity_skip and (config.rate_map == "relu" or config.rate_inference > 0):
        key, use = ("rate_map", "use 'rate-norm' or 'qcfs'")
        if config.rate_map != "relu":
            key, use = ("rate_inference", "use 0")
        yield (
            key,
            "is not possible with skips without weights, which cannot be scaled, got "
            f"{getattr(config, key)!r}; {use}",
        )


def _forward(config: Settings) -> Conflicts:
    """Yield the conflicts of the rules that run forward in time."""
    rule = config.time_rule
    if config.reset == "hard":
        yield "reset", f"'hard' is not possible with time_rule {rule!r}; use 'soft'"
    if config.norm == "batch-over-time":
        yield (
            "norm",
            f"'batch-over-time' is not possible with time_rule {rule!r}, which never has "
            "all timesteps at once; use 'weight-standardised'",
        )
    if config.neuron == "learned" or config.has_own_leaks:
        use = "'thresholds'" if config.neuron == "individual" else "'fixed'"
        yield (
            "neuron",
            f"{config.neuron!r} is not possible with time_rule {rule!r}, which needs the same leak "
            f"at every timestep and layer; use {use}, or time_rule 'bptt'",
        )
    if config.pooling != "average":
        yield (
            "pooling",
            f"{config.pooling!r} is not possible with time_rule {rule!r}, which needs linear "
            "pools; use 'average'",
        )
    if config.readout == "spiking" and not rule.startswith("ottt-"):
        yield (
            "readout",
            f"'spiking' is not possible with time_rule {rule!r}, whose output neurons never "
            "fire; use 'integrator'",
        )
    if rule in STEP_RULES and config.loss in ("mean-readout", "squared-error"):
        yield (
            "loss",
            f"{config.loss!r} is known only after the last timestep, but time_rule {rule!r} "
            "learns at every timestep; use 'instantaneous' or 'each-step'",
        )
    if rule in FINAL_RULES and config.readout_leak != 1:
        yield (
            "readout_leak",
            f"must be 1 with time_rule {rule!r}, which learns from one weighted mean of the "
            f"spikes, got {config.readout_leak:g}",
        )
    if rule in FINAL_RULES and config.loss != "mean-readout":
        yield "loss", f"must be 'mean-readout' with time_rule {rule!r}, got {config.loss!r}"

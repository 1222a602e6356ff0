"""Conflicts of the rules whose neurons fire once: what their mathematics does not have."""

from typing import Any

from snn.settings.needed import Conflicts, Needed, unmet
from snn.settings.units import ConvUnit, DenseUnit

FIRST_SPIKES = ("spike-time", "stdp")
"""Learning rules over time whose neurons fire at most once per image."""

BOTH: Needed = {
    "norm": ("none", "for which the sums of weights have a meaning"),
    "votes": (1, "whose neurons fire once"),
    "readout_leak": (1.0, "whose neurons fire once"),
    "leak": (1.0, "whose potentials are sums without leak"),
    "firing_share": (1.0, "whose neurons are not reset"),
    "reset": ("soft", "whose neurons are not reset"),
    "neuron": ("fixed", "which has no gradient for leak and threshold"),
    "threshold_balance": (0.0, "whose neurons fire once"),
    "dropout": (0.0, "whose neurons fire once"),
    "feedback": ("none", "whose neurons fire once"),
    "loss": ("mean-readout", "whose outputs are known at the end"),
    "block_classes": ("all", "whose classes would be hard at some times only"),
}
MEMORY: Needed = {
    "synaptic_leak": (0.0, "whose neurons fire once"),
    "adaptation": (0.0, "whose neurons fire once"),
    "recurrence": ("none", "whose neurons fire once"),
    "delays": ("none", "whose spikes arrive in the timestep in which they are fired"),
}
NEEDED: dict[str, Needed] = {
    "spike-time": {
        "encoding": ("latency", "whose inputs fire once"),
        "readout": ("spiking", "whose answer is the first output spike"),
        **BOTH,
    },
    "stdp": {
        "encoding": ("rank", "whose inputs fire once"),
        "readout": ("integrator", "whose readout is linear"),
        "head_hidden": (0, "whose readout is linear"),
        "pooling": ("spiking", "whose pools pass the first spike"),
        "weight_decay": (0.0, "which moves the weights itself"),
        **BOTH,
    },
}
UNITS = {
    "spike-time": (
        DenseUnit,
        "which sorts the inputs of each neuron by time; use dense units, like backbone 'mlp' or "
        "architecture 'd100 d50'",
    ),
    "stdp": (
        ConvUnit,
        "whose maps share their weights; use convolutions, like architecture 'c32k5p c150k3p'",
    ),
}


def first_spikes(config: Any) -> Conflicts:
    """Yield the key of each setting that does not fit, and a message."""
    rule = f"time_rule {config.time_rule!r}"
    yield from unmet(config, NEEDED[config.time_rule])
    yield from unmet(config, MEMORY, instead="bptt")
    kind, why = UNITS[config.time_rule]
    if not all(isinstance(unit, kind) for unit in config.units):
        key = "backbone" if config.backbone else "architecture"
        yield key, f"{config.title!r} is not possible with {rule}, {why}"
    if config.time_rule == "stdp" and config.exits > 1 and config.space_rule == "end-to-end":
        yield (
            "space_rule",
            f"'end-to-end' is not possible with {rule}, which trains a layer after the other; use "
            "'block-local'",
        )
    if config.time_rule == "stdp" and any(units > 1 for units in config.blocks):
        parts = "+".join("1" * len(config.units))
        yield (
            "partition",
            f"must have one unit per block with {rule}, which trains a layer after the other, got "
            f"{config.partition}; use {parts}",
        )

"""Conflicts of the rules whose neurons fire once: what their mathematics does not have."""

from collections.abc import Iterator
from typing import Any

from snn.settings.units import DenseUnit

FIRST_SPIKES = ("spike-time",)
"""Learning rules over time whose neurons fire at most once per image."""

NEEDED: dict[str, tuple[float | str, str]] = {
    "encoding": ("latency", "whose inputs fire once"),
    "norm": ("none", "for which the sums of weights have a meaning"),
    "readout": ("spiking", "whose answer is the first output spike"),
    "votes": (1, "whose answer is the first output spike"),
    "readout_leak": (1.0, "whose outputs are times"),
    "leak": (1.0, "whose potentials sum currents without leak"),
    "synaptic_leak": (0.0, "which has current_share for it"),
    "adaptation": (0.0, "whose neurons fire once"),
    "firing_share": (1.0, "whose neurons are not reset"),
    "reset": ("soft", "whose neurons are not reset"),
    "neuron": ("fixed", "which has no gradient for leak and threshold"),
    "threshold_balance": (0.0, "whose neurons all fire once"),
    "dropout": (0.0, "whose signals are times"),
    "feedback": ("none", "whose neurons fire once"),
    "loss": ("mean-readout", "whose loss is that of the output times"),
    "block_classes": ("all", "whose classes would be hard at some times only"),
}


def first_spikes(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the key of each setting that does not fit, and a message."""
    rule = f"time_rule {config.time_rule!r}"
    for name, (value, why) in NEEDED.items():
        given = getattr(config, name)
        if given == value:
            continue
        if isinstance(value, str):
            yield name, f"{given!r} is not possible with {rule}, {why}; use {value!r}"
        else:
            yield name, f"must be {value:g} with {rule}, {why}, got {given:g}"
    if not all(isinstance(unit, DenseUnit) for unit in config.units):
        key = "backbone" if config.backbone else "architecture"
        yield (
            key,
            f"{config.title!r} is not possible with {rule}, which sorts the inputs of each neuron "
            "by time; use dense units, like backbone 'mlp' or architecture 'd100 d50'",
        )

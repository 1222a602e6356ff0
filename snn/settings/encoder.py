"""Conflicts of a spiking encoder and its decoder: what scores and codes do not have."""

from typing import Any

from snn.settings.datasets import is_recorded
from snn.settings.needed import Conflicts, Needed, other_than, unmet
from snn.settings.units import DenseUnit

NEEDED: Needed = {
    "readout": ("integrator", "whose decoder is no spiking neuron"),
    "readout_leak": (1.0, "whose decoder sees the whole code"),
    "votes": (1, "whose decoder has one answer"),
    "time_threshold": (1.0, "whose decoder answers once, to the whole code"),
    "block_classes": ("all", "whose decoder must know all classes"),
    "reset": ("soft", "whose traces do not know a reset"),
    "neuron": ("fixed", "which needs the same leak in every layer"),
    "threshold_balance": (0.0, "whose code neurons have no threshold"),
    "dropout": (0.0, "whose code is random already"),
    "gradient_growth": (0.0, "whose layers learn by no common gradient"),
    "feedback": ("none", "whose traces begin in the layer itself"),
}
MEMORY: Needed = {
    "synaptic_leak": (0.0, "whose traces are those of LIF neurons"),
    "adaptation": (0.0, "whose traces are those of LIF neurons"),
    "delays": ("none", "whose traces are those of spikes without delay"),
}


def encoder(config: Any) -> Conflicts:
    """Yield the key of each setting that does not fit, and a message."""
    rule = f"time_rule {config.time_rule!r}"
    yield from unmet(config, NEEDED)
    yield from unmet(config, MEMORY, instead="bptt")
    if config.norm == "batch-over-time":
        yield from other_than(
            config, "norm", "weight-standardised", "whose traces go forward in time"
        )
    if config.loss != "mean-readout":
        yield (
            "loss",
            f"must be 'mean-readout' with {rule}, whose loss is that of the decoder, got "
            + repr(config.loss),
        )
    if config.head_hidden == 0:
        yield "head_hidden", f"must be at least 1 with {rule}, whose code neurons they are, got 0"
    if not all(isinstance(unit, DenseUnit) for unit in config.units):
        key = "backbone" if config.backbone else "architecture"
        yield (
            key,
            f"{config.title!r} is not possible with {rule}, whose eligibilities are of single "
            "weights; use dense units, like backbone 'mlp' or architecture 'd100 d50'",
        )
    if config.exits > 1 and config.space_rule == "end-to-end":
        yield (
            "space_rule",
            f"'end-to-end' is not possible with {rule} and several blocks, whose codes have "
            "learning signals of their own; use 'block-local'",
        )
    if config.decoder_target == "image" and is_recorded(config.dataset):
        yield (
            "decoder_target",
            f"'image' needs images, which {config.dataset} has not; use 'class'",
        )

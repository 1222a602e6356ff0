"""Tolerances for a result that was reproduced on another machine.

Another device, processor, version of torch or number of threads sums in another order, so
that membrane potentials differ in their last bits. A neuron whose potential is within that
difference of its threshold spikes on one machine and not on the other, which changes later
spikes too. The tolerances here hold for the same weights on the same images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from search.export.folder import Difference

DECIDES_BITS = ("torch", "device", "machine", "processor", "threads")
"""Entries of an environment that affect the rounding of sums."""

SHARES = {  # tolerance relative to the recorded metric
    "synaptic_ops": 0.02,
    "est_energy_nj": 0.02,
    "spikes_per_inference": 0.02,
    "latency_steps": 0.02,
    "mean_blocks": 0.02,
}
ACCURACY = 0.01  # absolute: one image in a hundred


def elsewhere(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return the recorded entries that affect rounding and differ here."""
    return [
        f"{name} {here.get(name)} (recorded: {recorded[name]})"
        for name in DECIDES_BITS
        if name in recorded and recorded[name] != here.get(name)
    ]


def tolerable(differences: Sequence[Difference]) -> bool:
    """Whether all differences are within the tolerances; other metrics have none."""
    return all(_is_tolerable(difference) for difference in differences)


def _is_tolerable(difference: Difference) -> bool:
    recorded, measured = difference.recorded, difference.measured
    if recorded is None or measured is None:
        return False
    away = abs(measured - recorded)
    if difference.name == "accuracy":
        return away <= ACCURACY
    share = SHARES.get(difference.name)
    return share is not None and away <= share * abs(recorded)

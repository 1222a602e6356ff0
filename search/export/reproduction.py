"""Whether a result was had again: exactly on the same kind of machine, nearly on another.

The same weights on another device, processor, version of torch or number of threads
are summed in another order, and differ in the last bits. A potential that lies as near to its
threshold as that fires on one and not on the other, and what follows differs, too. What
may come of it is stated here, for the same weights on the same images.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from search.export.folder import Difference

DECIDES_BITS = ("torch", "device", "machine", "processor", "threads")
"""Names of an environment between which sums may round differently."""

SHARES = {  # of the recorded figure, that another machine's may be away
    "synaptic_ops": 0.02,
    "est_energy_nj": 0.02,
    "spikes_per_inference": 0.02,
    "latency_steps": 0.02,
    "mean_blocks": 0.02,
}
ACCURACY = 0.01  # one image in a hundred may be decided otherwise


def elsewhere(recorded: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What of two environments differs that may change bits; what was not recorded does not."""
    return [
        f"{name} {here.get(name)} (recorded: {recorded[name]})"
        for name in DECIDES_BITS
        if name in recorded and recorded[name] != here.get(name)
    ]


def tolerable(differences: Sequence[Difference]) -> bool:
    """Whether another machine may differ so far; all that is counted once must be equal."""
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

"""Learning rules in time: how the error of a batch becomes gradients.

One file per rule, listed in `TIME_RULES`. Block-local training is the schedule
around them (`snn.training.train`); a rule sees the blocks that are trained now behind
the ones that are frozen.
"""

from collections.abc import Callable

from snn.network.layers import ForwardContext
from snn.network.network import Network
from snn.rules.bptt import bptt
from snn.rules.dsr import dsr
from snn.rules.ottt import ottt_a, ottt_o
from snn.rules.parts import learn as learn_in_parts
from snn.rules.rule import Batch, BatchResult, TimeRule
from snn.rules.saf import saf_e, saf_f
from snn.rules.spike_bp import spike_bp

TIME_RULES: dict[str, TimeRule] = {
    "bptt": bptt,
    "spike-bp": spike_bp,
    "ottt-a": ottt_a,
    "ottt-o": ottt_o,
    "saf-e": saf_e,
    "saf-f": saf_f,
    "dsr": dsr,
}

ONLINE_RULES = frozenset({"ottt-o", "saf-e"})
"""Rules that make an optimizer step after every timestep."""


def learn(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Train on a batch by the rule in time of the network's config.

    `apply` makes an optimizer step of the gradients and clears them.
    """
    return learn_in_parts(network, batch, state, apply=apply, rules=TIME_RULES, whole=ONLINE_RULES)


__all__ = ["ONLINE_RULES", "TIME_RULES", "Batch", "BatchResult", "TimeRule", "learn"]

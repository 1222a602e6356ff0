"""The published claims of the methods, and what is run here to hold against each.

On two processor cores a claim on MNIST takes minutes, and one on CIFAR-10 two hours at most; as
published they are for a GPU.
"""

from collections.abc import Callable

from benchmarks.claims.block_local import bloctrain, exits
from benchmarks.claims.claim import Claim, Scale
from benchmarks.claims.conversion import conversion
from benchmarks.claims.encoder import encoder
from benchmarks.claims.first_spikes import spike_time
from benchmarks.claims.forward import saf
from benchmarks.claims.grad_r import grad_r
from benchmarks.claims.plasticity import stdp
from benchmarks.claims.spike_bp import spike_bp
from benchmarks.claims.together import together
from benchmarks.claims.training import membrane_trace, start, surrogates

CLAIMS: dict[str, Callable[[Scale], Claim]] = {
    "spike-bp": spike_bp,
    "grad-r": grad_r,
    "bloctrain": bloctrain,
    "exits": exits,
    "together": together,
    "saf": saf,
    "conversion": conversion,
    "surrogates": surrogates,
    "membrane-trace": membrane_trace,
    "start": start,
    "spike-time": spike_time,
    "stdp": stdp,
    "encoder": encoder,
}

PUBLISHED = {
    "mnist": ("spike-bp",),
    "cifar10": ("spike-bp", "grad-r", "bloctrain", "exits", "together", "saf", "conversion"),
}
"""Claims that have the settings of a paper beside a size for a processor, by data set."""

__all__ = ["CLAIMS", "PUBLISHED"]

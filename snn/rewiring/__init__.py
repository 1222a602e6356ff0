"""Rewiring: connections that go, and may return, during training.

One file per form behind one small protocol: `grad_r` (closed and open loop),
and what it is compared with: `deep_r` (hard and soft), `magnitude`, `stds`.
"""

from collections.abc import Callable, Sequence

from snn.network.layers import Connections
from snn.rewiring.census import ConnectivityReport, connectivity
from snn.rewiring.deep_r import DeepR, SoftDeepR, Walk
from snn.rewiring.grad_r import ClosedLoop, OpenLoop
from snn.rewiring.magnitude import Magnitude
from snn.rewiring.rewirer import Ramp, Rewirer
from snn.rewiring.stds import SoftThreshold
from snn.settings.config import RunConfig

__all__ = ["ConnectivityReport", "Rewirer", "connectivity", "make_rewirer"]

_RAMPED: dict[str, Callable[[Sequence[Connections], Ramp], Rewirer]] = {
    "closed-loop": ClosedLoop,
    "magnitude": Magnitude,
    "stds": SoftThreshold,
}
_WALKING: dict[str, Callable[[Sequence[Connections], Walk], Rewirer]] = {
    "deep-r": DeepR,
    "deep-r-soft": SoftDeepR,
}


def make_rewirer(
    connections: Sequence[Connections], config: RunConfig, *, index: int = 0
) -> Rewirer | None:
    """Turns the connections into rewired ones; None where the target is dense.

    `index` tells apart what is rewired by itself under one seed.
    """
    target = config.target_sparsity
    if target == 0:
        return None
    beta = 0.9 if config.optimizer == "adam" else 0.0
    if config.rewiring == "open-loop":
        return OpenLoop(connections, target=target, strength=config.prior_strength, beta=beta)
    if config.rewiring in _WALKING:
        walk = Walk(
            target=target,
            drift=config.prior_strength,
            temperature=config.rewiring_temperature,
            beta=beta,
            every=config.rewiring_every,
            seed=config.seed,
            index=index,
        )
        return _WALKING[config.rewiring](connections, walk)
    ramp = Ramp(target=target, ramp=config.rewiring_ramp, every=config.rewiring_every)
    return _RAMPED[config.rewiring](connections, ramp)

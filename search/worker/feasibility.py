"""Feasibility: what can be known of a run before any of it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.study.tables import Bound
from search.worker import estimates
from snn.settings.config import SETTINGS, RunConfig

KNOWN = ("parameters", "model_bytes", "training_memory_bytes")
IMAGES = 1_000  # for training, which each of these has at least; a batch may hold all of them
OURS = ("digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100")
_WITHOUT_SAY = {"schedule", "epochs", "seed"}


@dataclass(frozen=True, kw_only=True)
class Infeasible:
    """Why a point is not tried."""

    violation: float  # how far it is outside, as samplers hear it; above 0
    reason: str  # one line


class Feasibility:
    """Holds runs against the bounds of a study that can be known beforehand.

    A run is infeasible when even the smallest network that it yields is outside,
    whatever the data. The network is built for this, once for all runs that
    differ only in what has no say in its size.
    """

    def __init__(self, constraints: Mapping[str, Bound], *, images: int | None = None) -> None:
        self._images = images  # for training, where that is known
        bounds = {name: constraints[name] for name in KNOWN if name in constraints}
        self._bounds = {name: bound for name, bound in bounds.items() if bound.max is not None}
        self._known: dict[tuple[object, ...], Infeasible | None] = {}

    def check(self, config: RunConfig) -> Infeasible | None:
        """Why the run cannot be within the bounds; None where it may be."""
        if not self._bounds:
            return None
        key = size_of(config)
        if key not in self._known:
            self._known[key] = self._look(config)
        return self._known[key]

    def _look(self, config: RunConfig) -> Infeasible | None:
        try:
            needs_memory = "training_memory_bytes" in self._bounds
            images = self._images or (IMAGES if config.dataset in OURS else 1)
            least = estimates.lower_bound(config, images=images, memory=needs_memory)
        except Exception:  # the trial will show what is wrong, and have it on record
            return None
        for name, bound in self._bounds.items():
            figure = getattr(least, name)
            if figure is not None and bound.violation(figure) > 0:
                return Infeasible(
                    violation=bound.violation(figure),
                    reason=f"{name} would be {figure:,}, the constraint allows {bound.max:,.0f}",
                )
        return None


def size_of(config: RunConfig) -> tuple[object, ...]:
    """All that decides how large the networks of a run are, the same for equal sizes."""
    return tuple(
        _said_by(getattr(config, name))
        for name, setting in SETTINGS.items()
        if not setting.operating and name not in _WITHOUT_SAY
    )


def _said_by(value: object) -> object:
    """As much of a setting as can change a size: of a real number not its amount."""
    if isinstance(value, float) and value not in (0.0, 1.0):
        return 0.5
    return value

"""Check run configs against constraints before training."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.study.tables import Bound
from search.trial.function_config import Config
from search.worker import engine
from snn.settings.config import SETTINGS, RunConfig

KNOWN = ("parameters", "model_bytes", "training_memory_bytes")
IMAGES = 1_000  # lower bound of the training images of `OURS`; limits the batch size
OURS = ("digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100")
_NOT_SIZE = {"schedule", "epochs", "screen", "seed"}


@dataclass(frozen=True, kw_only=True)
class Infeasible:
    """The reason why a configuration is not trained."""

    violation: float  # above 0, as reported to the sampler
    reason: str  # one line


class Feasibility:
    """Checks run configs against the constraints whose metrics have a known lower bound.

    A run is infeasible if the lower bound violates a constraint. The bound is computed once
    for all configs of equal size.
    """

    def __init__(self, constraints: Mapping[str, Bound], *, images: int | None = None) -> None:
        self._images = images  # training images, if known
        bounds = {name: constraints[name].max for name in KNOWN if name in constraints}
        # a lower bound may lie below a least value without violating it
        self._bounds = {n: Bound(max=most) for n, most in bounds.items() if most is not None}
        self._known: dict[tuple[object, ...], Infeasible | None] = {}

    def check(self, config: Config) -> Infeasible | None:
        """Return why the run violates a constraint; None if it may satisfy all, or is not ours."""
        if not self._bounds or not isinstance(config, RunConfig):
            return None
        key = size_of(config)
        if key not in self._known:
            self._known[key] = self._compute(config)
        return self._known[key]

    def _compute(self, config: RunConfig) -> Infeasible | None:
        try:
            needs_memory = "training_memory_bytes" in self._bounds
            images = self._images or (IMAGES if config.dataset in OURS else 1)
            bound_below = engine.lower_bound(config, images=images, memory=needs_memory)
        except Exception:  # the trial raises it again and records it
            return None
        for name, bound in self._bounds.items():
            figure = getattr(bound_below, name)
            if figure is not None and bound.violation(figure) > 0:
                return Infeasible(
                    violation=bound.violation(figure),
                    reason=f"{name} would be {figure:,}, the constraint allows {bound.max:,.0f}",
                )
        return None


def size_of(config: Config) -> tuple[object, ...]:
    """Return a key of the settings that determine the size of the network."""
    if not isinstance(config, RunConfig):
        return (config.fingerprint,)
    return tuple(
        _size_part(getattr(config, name))
        for name, setting in SETTINGS.items()
        if not setting.operating and name not in _NOT_SIZE
    )


def _size_part(value: object) -> object:
    """Return a setting without the value of a real number, which does not change a size."""
    if isinstance(value, float) and value not in (0.0, 1.0):
        return 0.5
    return value

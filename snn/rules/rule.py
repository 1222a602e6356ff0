"""The contract of a time rule, and the registry of rules."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from snn.network.layers import Dynamics, ForwardContext
from snn.network.network import Network


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of training."""

    # (time, batch, ...), or (1, batch, ...) if the encoding is constant; bytes: `TimeChunk.chunks`
    drive: Tensor
    labels: Tensor  # (batch,), positions in the classes of the trained heads
    frozen: int  # number of first blocks that are not trained
    timesteps: int
    loss: str  # as in RunConfig
    share: float = 1.0  # factor of the loss, as a part of a larger batch
    pixels: Tensor | None = None  # (batch, pixels) from 0 to 1, of images that a decoder is to find


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """Result of a batch; tensors stay on the device, so that no step waits for the host."""

    loss: Tensor  # scalar
    correct: Tensor  # scalar, images that the deepest head classified correctly
    held: tuple[Tensor, ...] = ()  # what the rule itself kept between timesteps


class TimeRule(Protocol):
    """Trains the blocks after the first `batch.frozen` on one batch.

    `apply` makes an optimizer step with the gradients and clears them: a rule that needs
    all timesteps calls it once per batch, an online rule once per timestep.
    """

    def __call__(
        self, network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
    ) -> BatchResult: ...


TIME_RULES: dict[str, TimeRule] = {}
"""Time rules by their name in `RunConfig.time_rule`."""

ONLINE_RULES: set[str] = set()
"""Names of the rules that make an optimizer step after every timestep."""

Rule = TypeVar("Rule", bound=TimeRule)


RATE_RULES: set[str] = set()
"""Names of the rules that make a forward pass over real numbers in place of spikes."""

TIMELESS: dict[str, Callable[[], Dynamics]] = {}
"""Dynamics of the rules that train without time, by their name; they validate with them too."""


def time_rule(
    name: str,
    *,
    is_online: bool = False,
    has_rates: bool = False,
    timeless: Callable[[], Dynamics] | None = None,
) -> Callable[[Rule], Rule]:
    """Register a rule under a name, which is also a choice of `RunConfig.time_rule`."""

    def register(rule: Rule) -> Rule:
        TIME_RULES[name] = rule
        if timeless is not None:
            TIMELESS[name] = timeless
        if is_online:
            ONLINE_RULES.add(name)
        if has_rates:
            RATE_RULES.add(name)
        return rule

    return register

"""What every rule in time is given and gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from snn.network.layers import ForwardContext
from snn.network.network import Network


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch of training."""

    drive: Tensor  # (time, batch, ...), or (1, batch, ...) when constant
    labels: Tensor  # (batch,), positions in the trained heads' classes
    frozen: int  # blocks in front that are not trained
    timesteps: int
    loss: str  # as in RunConfig
    share: float = 1.0  # weight of this batch's loss, as a part of a larger batch


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What a batch showed; tensors stay on the device, so that no step waits for the host."""

    loss: Tensor  # scalar
    correct: Tensor  # scalar, images that the deepest head got right
    held: tuple[Tensor, ...] = ()  # what the rule itself kept from one timestep to the next


class TimeRule(Protocol):
    """Trains the blocks behind `batch.frozen` on one batch.

    `apply` makes an optimizer step of the gradients and clears them: a rule
    that needs all timesteps calls it once per batch, an online rule once per
    timestep.
    """

    def __call__(
        self, network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
    ) -> BatchResult: ...

"""What a network costs: memory to train it, bytes to store it, operations to run it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.blocks import Block, connections_of
from snn.network.layers import Connections, Layer

OPTIMIZER_COPIES = {"adam": 2, "sgd": 1}  # numbers kept per parameter: moments, momentum


class SavedBytes:
    """Counts the bytes that autograd keeps for backward while it is entered, at their peak.

    Each storage counts once for as long as a graph holds it, and the parameters
    not at all, so the figure is the same on every device.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = {_identity(p) for p in parameters}
        self._holders: dict[int, int] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._now = self.peak = 0
        # kept alive until the end: a freed storage's identity may come back as another's
        self._at_peak: dict[int, torch.UntypedStorage] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)

    def _pack(self, tensor: Tensor) -> "_Kept | _Unheld":
        key = _identity(tensor)
        if key in self._parameters:
            return _Unheld(tensor)
        self._holders[key] = self._holders.get(key, 0) + 1
        if self._holders[key] == 1:
            self._storages[key] = tensor.untyped_storage()
            self._now += tensor.untyped_storage().nbytes()
            if self._now >= self.peak:
                self.peak, self._at_peak = self._now, dict(self._storages)
        return _Kept(tensor, self)

    def release(self, tensor: Tensor) -> None:
        """A graph let go of the tensor."""
        key = _identity(tensor)
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key], self._storages[key]
            self._now -= tensor.untyped_storage().nbytes()

    def beside(self, held: Sequence[Tensor]) -> int:
        """Bytes of tensors that a rule holds between timesteps and no graph held at the peak."""
        storages = {_identity(t): t.untyped_storage().nbytes() for t in held}
        counted = self._at_peak.keys() | self._parameters
        return sum(size for key, size in storages.items() if key not in counted)

    def __enter__(self) -> "SavedBytes":
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, trace)


def _identity(tensor: Tensor) -> int:
    """Of the storage itself: storages without data share a null pointer."""
    return int(tensor.untyped_storage()._cdata)


@dataclass
class _Unheld:
    """A tensor that does not count."""

    tensor: Tensor


class _Kept:
    """A tensor in a graph; tells the counter when the graph is gone."""

    def __init__(self, tensor: Tensor, counter: SavedBytes) -> None:
        self.tensor, self._counter = tensor, counter

    def __del__(self) -> None:
        self._counter.release(self.tensor)


def held_bytes(live: nn.Module, frozen: Sequence[nn.Module], *, optimizer: str) -> int:
    """Weights, gradients and optimizer state of `live`, and the weights of `frozen`."""
    copies = 2 + OPTIMIZER_COPIES[optimizer]
    trained = sum(p.numel() * p.element_size() for p in live.parameters())
    buffers = sum(b.numel() * b.element_size() for b in live.buffers())
    still = sum(p.numel() * p.element_size() for part in frozen for p in part.parameters())
    return copies * trained + buffers + still


def parameter_count(module: nn.Module) -> int:
    """Trained numbers in a module."""
    return sum(p.numel() for p in module.parameters())


def model_bytes(blocks: Sequence[Block]) -> int:
    """Bytes to store folded blocks, heads included.

    Per set of connections the smaller of all weights in 32 bits, and the
    weights that are not zero with one bit per possible connection; biases that
    are not zero, and learned leaks and thresholds, in 32 bits.
    """
    total = 0
    for block in blocks:
        for conn in connections_of(block):
            possible, alive = conn.weight.numel(), int(torch.count_nonzero(conn.weight))
            total += min(4 * possible, 4 * alive + math.ceil(possible / 8))
        for name, parameter in block.named_parameters():
            if name.endswith("bias"):
                total += 4 * int(torch.count_nonzero(parameter))
            elif name.endswith((".leak", ".threshold")):
                total += 4
    return total


@torch.no_grad()
def fan_out(connections: Connections, shape: Sequence[int]) -> Tensor:
    """Connections that exist behind each input of `shape` (without time and batch).

    Exact at the borders and for strides: the transpose of the connections with
    every existing weight set to 1.
    """
    weight = (connections.weight != 0).to(torch.float64)
    if weight.dim() == 2:
        return weight.sum(dim=0).view(*shape)
    stride, padding = connections.stride, weight.shape[-1] // 2
    sides = [(side + 2 * padding - weight.shape[-1]) // stride + 1 for side in shape[1:]]
    ones = torch.ones(1, weight.shape[0], *sides, dtype=weight.dtype, device=weight.device)
    # the rows and columns that a stride leaves over at the far border
    left = [
        side - ((out - 1) * stride - 2 * padding + weight.shape[-1])
        for side, out in zip(shape[1:], sides, strict=True)
    ]
    reached = F.conv_transpose2d(ones, weight, stride=stride, padding=padding, output_padding=left)
    return reached[0]


def skip_fan_out(layer: Layer, shape: Sequence[int]) -> Tensor:
    """As `fan_out`, for a skip that passes every stride-th pixel on."""
    assert layer.skip is not None
    reached = torch.zeros(*shape, dtype=torch.float64, device=layer.sources[0].weight.device)
    reached[..., :: layer.skip.stride, :: layer.skip.stride] = 1
    return reached

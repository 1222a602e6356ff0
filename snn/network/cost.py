"""Cost of a network: training memory, stored bytes, and the operations of a run."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.blocks import Block, connections_of, layers_of
from snn.network.connections import Connections
from snn.network.layers import Layer, PoolNeurons
from snn.network.memory.delays import delay_bits
from snn.network.memory.lateral import LateralLif

OPTIMIZER_COPIES = {"adam": 2, "sgd": 1}  # numbers kept per parameter: moments, momentum


class SavedBytes:
    """Context that measures the peak of the bytes that autograd saves for the backward pass.

    Each storage counts once while a graph holds it. Parameters do not count, so the figure
    is the same on every device.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = {_identity(p) for p in parameters}
        self._holders: dict[int, int] = {}
        self._storages: dict[int, torch.UntypedStorage] = {}
        self._now = self.peak = 0
        # kept alive until the end: the identity of a freed storage may be used again
        self._at_peak: dict[int, torch.UntypedStorage] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda kept: kept.tensor)

    def _pack(self, tensor: Tensor) -> "_Saved | _Uncounted":
        key = _identity(tensor)
        if key in self._parameters:
            return _Uncounted(tensor)
        self._holders[key] = self._holders.get(key, 0) + 1
        if self._holders[key] == 1:
            self._storages[key] = tensor.untyped_storage()
            self._now += tensor.untyped_storage().nbytes()
            if self._now >= self.peak:
                self.peak, self._at_peak = self._now, dict(self._storages)
        return _Saved(tensor, self)

    def release(self, tensor: Tensor) -> None:
        """Count a tensor that a graph has released."""
        key = _identity(tensor)
        self._holders[key] -= 1
        if self._holders[key] == 0:
            del self._holders[key], self._storages[key]
            self._now -= tensor.untyped_storage().nbytes()

    def unsaved_bytes(self, held: Sequence[Tensor]) -> int:
        """Return the bytes of the tensors in `held` that no graph held at the peak."""
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
    """Return the identity of the storage: meta tensors share a null data pointer."""
    return int(tensor.untyped_storage()._cdata)


@dataclass
class _Uncounted:
    """A saved parameter."""

    tensor: Tensor


class _Saved:
    """A tensor saved in a graph; reports its release to the counter."""

    def __init__(self, tensor: Tensor, counter: SavedBytes) -> None:
        self.tensor, self._counter = tensor, counter

    def __del__(self) -> None:
        self._counter.release(self.tensor)


def held_bytes(live: nn.Module, frozen: Sequence[nn.Module], *, optimizer: str) -> int:
    """Return bytes of weights, gradients and optimizer state of `live`, weights of `frozen`.

    Weights without a gradient, which plasticity changes, have neither gradients nor state.
    """
    copies = 2 + OPTIMIZER_COPIES[optimizer]
    trained = sum(p.numel() * p.element_size() for p in live.parameters() if p.requires_grad)
    plastic = sum(p.numel() * p.element_size() for p in live.parameters() if not p.requires_grad)
    buffers = sum(b.numel() * b.element_size() for b in live.buffers())
    still = sum(p.numel() * p.element_size() for part in frozen for p in part.parameters())
    return copies * trained + plastic + buffers + still


def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def model_bytes(blocks: Sequence[Block]) -> int:
    """Return the bytes to store folded blocks, heads included.

    Per set of connections the smaller of two formats: all weights in 32 bits, or the
    non-zero weights in 32 bits and one bit per possible connection. Non-zero biases and
    learned leaks and thresholds take 32 bits each, delays as many as their longest needs.
    """
    total = 0
    for block in blocks:
        for conn in connections_of(block):
            total += weight_bytes(conn.weight)
            if conn.delays is not None:
                alive = int(torch.count_nonzero(conn.weight))
                total += math.ceil(delay_bits(conn.delays, alive) / 8)
        for name, parameter in block.named_parameters():
            if name.endswith("bias"):
                total += bias_bytes(parameter)
        total += constant_bytes(layers_of(block))
    return total


def weight_bytes(weight: Tensor) -> int:
    """Return the bytes to store the weights of one set of connections, see `model_bytes`."""
    possible, alive = weight.numel(), int(torch.count_nonzero(weight))
    return min(4 * possible, 4 * alive + math.ceil(possible / 8))


def bias_bytes(bias: Tensor) -> int:
    """Return the bytes to store biases, see `model_bytes`."""
    return 4 * int(torch.count_nonzero(bias))


def constant_bytes(layers: Iterable[Layer]) -> int:
    """Return the bytes to store the leaks and thresholds that the layers learn."""
    learned = (constant for layer in layers for constant in (layer.leak, layer.threshold))
    return sum(4 * constant.numel() for constant in learned if constant is not None)


@torch.no_grad()
def fan_out_by_lag(connections: Connections, shape: Sequence[int]) -> Tensor:
    """Return the same as `fan_out` for each delay in timesteps, (longest + 1, *shape)."""
    delays = connections.delays
    assert delays is not None
    whole, lags = delays.whole(), range(delays.longest + 1)
    if delays.kind == "axons":
        fan = fan_out(connections, shape)
        own = whole.view(-1, *[1] * (fan.dim() - 1))
        return torch.stack([fan * (own == lag) for lag in lags])
    own = whole.view(*whole.shape, *[1] * (connections.weight.dim() - 2))
    return torch.stack([fan_out(connections, shape, among=own == lag) for lag in lags])


@torch.no_grad()
def fan_out(
    connections: Connections, shape: Sequence[int], *, among: Tensor | None = None
) -> Tensor:
    """Return the existing outgoing connections of each input of `shape`, float64 of that shape.

    `shape` is without time and batch. Exact at borders and for strides: the transposed
    connections with every existing weight set to 1. `among`, to be broadcast to the weights,
    says which of them count; None: all. With weights for each timestep: (steps, *shape).
    """
    weight = (connections.weight != 0).to(torch.float64)
    if among is not None:
        weight = weight * among
    if weight.dim() == 2:
        steps = [] if connections.steps == 1 else [connections.steps]
        return weight.sum(dim=0).view(*steps, *shape)
    stride, padding = connections.stride, weight.shape[-1] // 2
    sides = [(side + 2 * padding - weight.shape[-1]) // stride + 1 for side in shape[1:]]
    ones = torch.ones(1, weight.shape[0], *sides, dtype=weight.dtype, device=weight.device)
    # rows and columns at the far border that the stride does not reach
    left = [
        side - ((out - 1) * stride - 2 * padding + weight.shape[-1])
        for side, out in zip(shape[1:], sides, strict=True)
    ]
    reached = F.conv_transpose2d(
        ones,
        weight,
        stride=stride,
        padding=padding,
        output_padding=left,
        groups=connections.groups,
    )
    return reached[0]


def skip_fan_out(layer: Layer, shape: Sequence[int]) -> Tensor:
    """Return the same as `fan_out` for the skip of a layer."""
    assert layer.skip is not None
    reached = torch.zeros(*shape, dtype=torch.float64, device=layer.sources[0].weight.device)
    reached[..., :: layer.skip.stride, :: layer.skip.stride] = 1
    return reached


class OperationCounter:
    """Observer that counts operations and spikes per image, layer and timestep."""

    def __init__(self) -> None:
        self._fans: dict[object, Tensor] = {}
        self.clear()

    def clear(self) -> None:
        """Delete the counts of the last batch."""
        self.accumulates: dict[object, list[Tensor]] = {}  # by layer or readout: (time, batch)
        self.spikes: dict[Layer, list[Tensor]] = {}
        self.macs: dict[object, list[Tensor]] = {}  # like accumulates, of analog inputs

    @property
    def total(self) -> float:
        """All accumulates and multiply-accumulates of the last batch."""
        counts = [*self.accumulates.values(), *self.macs.values()]
        return sum(float(count.sum()) for chunks in counts for count in chunks)

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        steps = spikes.shape[0]
        counts = []
        for conn, x in zip(layer.sources, inputs, strict=False):
            counts.append(self._counts(layer, conn, x, steps))
        if layer.skip is not None:
            source = inputs[-1]
            if layer.skip not in self._fans:
                self._fans[layer.skip] = skip_fan_out(layer, source.shape[2:]).flatten()
            counts.append(weighted(source, self._fans[layer.skip]) * layer.skip.spikes_per_unit)
        if isinstance(layer, PoolNeurons):
            arrived = inputs[0].flatten(2).sum(dim=2, dtype=torch.float64) * layer.spikes_per_unit
            counts.append(arrived)
        if isinstance(layer.lif, LateralLif):  # each spike reaches all other neurons
            fired = spikes.flatten(2).sum(dim=2, dtype=torch.float64)
            counts.append(fired * (spikes[0, 0].numel() - 1))
        self.accumulates.setdefault(layer, []).append(torch.stack(counts).sum(dim=0))
        self.spikes.setdefault(layer, []).append(spikes.flatten(2).sum(dim=2, dtype=torch.float64))

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        counts = self._counts(connections, connections, inputs, inputs.shape[0])
        self.accumulates.setdefault(connections, []).append(counts)

    def _counts(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        """Return accumulates per timestep and image; analog inputs add to `macs` instead.

        The current of a constant input is computed once, in the first timestep, with all its
        values. Of an input that moves, a value of zero costs nothing.
        """
        if conn.delays is not None:
            return self._late(owner, conn, x, steps)
        if conn.steps > 1:
            return self._timed(owner, conn, x)
        if conn not in self._fans:
            self._fans[conn] = fan_out(conn, x.shape[2:]).flatten()
        fan = self._fans[conn]
        if conn.is_analog:
            none = x.new_zeros((steps, x.shape[1]), dtype=torch.float64)
            counted = none.clone()
            if not conn.is_constant:
                counted = weighted((x != 0).to(x.dtype), fan)
            elif owner not in self.macs:
                counted[0] = fan.sum()
            self.macs.setdefault(owner, []).append(counted)
            return none
        return weighted(x, fan) * conn.spikes_per_unit

    def _timed(self, owner: object, conn: Connections, x: Tensor) -> Tensor:
        """Return the same of connections with weights for each timestep."""
        if conn not in self._fans:
            self._fans[conn] = fan_out(conn, x.shape[2:]).flatten(1)
        first = sum(len(counted) for counted in self.accumulates.get(owner, []))
        fan = self._fans[conn][first : first + len(x)]
        return torch.einsum("tbn,tn->tb", x.flatten(2).abs().to(torch.float64), fan)

    def _late(self, owner: object, conn: Connections, x: Tensor, steps: int) -> Tensor:
        """Return the same of delayed connections: operations count when a spike arrives.

        What would arrive after the last timestep is never added.
        """
        if conn not in self._fans:
            self._fans[conn] = fan_out_by_lag(conn, x.shape[2:]).flatten(1)
        used = (x != 0).to(x.dtype) if conn.is_analog else x
        longest = len(self._fans[conn]) - 1
        spent = x.new_zeros((steps, x.shape[1]), dtype=torch.float64)
        for lag, fan in enumerate(self._fans[conn]):
            first = longest - lag
            spent += weighted(used[first : first + steps], fan)
        if not conn.is_analog:
            return spent * conn.spikes_per_unit
        self.macs.setdefault(owner, []).append(spent)
        return torch.zeros_like(spent)


def weighted(x: Tensor, fan: Tensor) -> Tensor:
    """Return the sum over inputs of |input| * fan-out, (time, batch)."""
    return x.flatten(2).abs().to(torch.float64) @ fan

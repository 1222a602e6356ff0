"""Layers: connections that carry spikes, and the neurons that they drive.

Every tensor has time first: `time batch channels height width`, or
`time batch features`. Time may be 1 for a current that never changes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.neurons import Lif
from snn.network.packing import Levels, PackedMap
from snn.network.parametrizations import ConnectionParametrization, StrengthParametrization

PACKED_GRAIN = 4
"""Spikes per value of 1 up to which inputs are packed: more, and unpacking may round."""

Origin = Literal["image", "neurons", "border", "pool"]
"""Where inputs come from: the image, neurons of the same block or of the one before, or
pooling neurons, which have no dropout."""

SPIKE_SCALE = 2.74
"""1 / standard deviation of a spike whose potential is N(0, 1) with threshold 1 (OTTT)."""

LEAST_THRESHOLD = 1 / 64
"""A learned threshold stays above this share of the one that it started from."""

Norm = Literal["weight-standardised", "batch-over-time", "none"]


class Observer(Protocol):
    """Sees what goes in and out of every layer, chunk of timesteps by chunk."""

    def layer(self, layer: "Layer", inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """`inputs` as each of `layer.connections` got them; `spikes` before dropout."""

    def readout(self, connections: "Connections", inputs: Tensor) -> None:
        """`inputs` of connections whose targets do not fire."""


class Dynamics(Protocol):
    """How layers turn inputs into signals where a learning rule does it its own way.

    Signals are linear in spikes: pools, skips and dropout masks act on them as on
    spikes. One timestep at a time.
    """

    def enter(self, x: Tensor) -> Tensor:
        """Begin a timestep with spikes or an image (1, batch, ...); the first layer's input."""

    def layer(self, layer: "Layer", inputs: list[Tensor], batch: "ForwardContext") -> Tensor:
        """The signal that the layer's neurons send, (1, batch, ...)."""

    def readout(self, readout: Any, x: Tensor, batch: "ForwardContext") -> Tensor:
        """Input to integrators that get the signal `x`, (1, batch, classes)."""

    def held(self) -> list[Tensor]:
        """What is kept from one timestep to the next."""


class Firing(Protocol):
    """How neurons fire where a learning rule has a derivative of its own for them."""

    def __call__(self, layer: "Layer", current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `Lif` of `layer`: the same spikes, and what is left."""


class Feedback(Protocol):
    """How what a block sent a timestep ago arrives at its first layer (`snn.network.feedback`)."""

    def __call__(self, x: Tensor | None, like: Tensor) -> Tensor:
        """Input of the last of the layer's connections; `x` is None at the first timestep."""


@dataclass
class ForwardContext:
    """What one batch carries through the network: nothing of it outlives the batch."""

    weights: dict["Connections", Tensor] = field(default_factory=dict)
    masks: dict["Layer", Tensor] = field(default_factory=dict)
    potentials: dict["Layer", Tensor] = field(default_factory=dict)  # before the last reset
    constant: dict["Layer", Tensor] = field(default_factory=dict)  # currents that never change
    returning: dict["Layer", Tensor] = field(default_factory=dict)  # to first layers, as feedback
    observer: Observer | None = None
    generator: torch.Generator | None = None  # draws dropout masks
    dynamics: Dynamics | None = None  # None: neurons fire as they are
    fire: Firing | None = None  # None: with the network's surrogate
    is_packed: bool = False  # spikes are kept for backward as bits
    spike: float = 1.0  # value of a spike: above 1 behind dropout
    border_spike: float = 1.0  # of one that enters a block

    def weight(self, connections: "Connections") -> Tensor:
        """The effective weight, computed once per batch however many chunks there are."""
        if connections not in self.weights:
            weight = connections.effective_weight()
            if weight.dim() == 4:
                # channels last: what comes out follows, and convolutions need not reorder it
                if weight.shape[1] == 1:  # in both orders at once, of which torch takes the other
                    weight = weight.clone(memory_format=torch.channels_last)
                weight = weight.contiguous(memory_format=torch.channels_last)
            self.weights[connections] = weight
        return self.weights[connections]

    def levels(self, connections: "Connections") -> Levels | None:
        """How inputs are packed; None where they are kept as they are."""
        origin = connections.origin
        if not self.is_packed or origin == "image" or connections.grain > PACKED_GRAIN:
            return None
        spike = {"neurons": self.spike, "border": self.border_spike, "pool": 1.0}[origin]
        return Levels(grain=connections.grain, spike=spike)


class Connections(nn.Module):
    """The connections from one source to one target, a convolution or all-to-all.

    `grain` spikes make an input of 1: average pooling before these connections
    turns k*k spikes into one value of 1. With `is_analog` inputs are real
    numbers and not spikes. `origin` is where inputs come from.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        stride: int = 1,
        grain: int = 1,
        is_analog: bool = False,
        origin: Origin = "neurons",
        norm: Norm = "none",
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.stride, self.grain, self.norm = stride, grain, norm
        self.is_analog, self.origin = is_analog, origin
        fan_in = math.prod(shape[1:])
        weight = torch.empty(shape)
        weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        self.weight = nn.Parameter(weight)
        self.scale = 1.0 if is_analog else SPIKE_SCALE
        self.trained_in = torch.float32  # type that inputs are multiplied in while training
        if norm == "weight-standardised":
            self.gain = nn.Parameter(torch.full((shape[0],), gain))
        elif norm == "batch-over-time":
            batch_norm = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
            self.batch_norm = batch_norm(shape[0])
            nn.init.constant_(self.batch_norm.weight, gain)
        self.gate: ConnectionParametrization | None = (
            None  # what rewiring puts between `weight` and its use
        )

    @property
    def is_rewired(self) -> bool:
        """Whether connections come and go during training."""
        return self.gate is not None

    def hold_strengths(self, *, is_regrowing: bool = True) -> None:
        """From now on `weight` holds strengths, at first >= 0, and signs never change.

        `is_regrowing` as in StrengthGate.
        """
        self.gate = StrengthParametrization(self.weight, is_regrowing=is_regrowing)
        with torch.no_grad():
            self.weight.abs_()

    def exists(self) -> Tensor:
        """Which connections exist, a boolean like the weight."""
        weight = self.weight.detach()
        return weight != 0 if self.gate is None else self.gate.exists(weight)

    def effective_weight(self) -> Tensor:
        """The weight that inputs are multiplied with, batch norm not included."""
        weight: Tensor = self.weight
        if self.gate is not None:
            weight = self.gate(weight)
        if self.norm == "weight-standardised":
            weight = self._standardised(weight)
        return weight

    def _standardised(self, weight: Tensor) -> Tensor:
        """Scaled weight standardisation (Brock et al. 2021; OTTT) per target.

        Under rewiring the mean stays: subtracting it would turn connections
        that do not exist into connections, and flip the sign of weak ones.
        """
        rows = weight.flatten(1)
        if self.gate is None:
            rows = rows - rows.mean(dim=1, keepdim=True)
            power = rows.square().sum(dim=1) * (rows.shape[1] / max(rows.shape[1] - 1, 1))
        else:
            power = rows.square().sum(dim=1)
        factor = self.scale * self.gain * (power + 1e-4).rsqrt()
        return (rows * factor.unsqueeze(1)).view_as(weight)

    def forward(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        levels: Levels | None = None,
    ) -> Tensor:
        """Currents of inputs `x`, both with time first; with `levels`, inputs are kept packed.

        Single precision comes out, also where the map itself is in half.
        """
        flat = x.flatten(0, 1)
        if self._is_half(weight):
            half = weight.to(self.trained_in)
            current = self._mapped(flat, half, None, levels)
            if bias is None:
                current = current.to(x.dtype)
            else:  # one pass: the sum of half and single is single
                current = current + bias.view(-1, *[1] * (weight.dim() - 2))
        else:
            current = self._mapped(flat, weight, bias, levels)
        if self.norm == "batch-over-time":
            current = self.batch_norm(current)
        unfolded: Tensor = current.unflatten(0, x.shape[:2])
        return unfolded

    def _is_half(self, weight: Tensor) -> bool:
        """Whether the map is in half precision now: neither in evaluation nor of an image.

        A weight that is not trained stands in a block that is done.
        """
        is_asked = self.trained_in != torch.float32 and not self.is_analog
        return is_asked and self.training and weight.requires_grad

    def _mapped(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, levels: Levels | None
    ) -> Tensor:
        if levels is None:
            return self.apply_weight(x.to(weight.dtype), weight, bias)
        x = x.flatten(1) if weight.dim() == 2 else x
        current: Tensor = PackedMap.apply(x, weight, bias, self.stride, levels)  # type: ignore[no-untyped-call]
        return current

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The linear map alone, `x` without time."""
        if weight.dim() == 2:
            return F.linear(x.flatten(1), weight, bias)
        current = F.conv2d(x, weight, bias, stride=self.stride, padding=weight.shape[-1] // 2)
        if current.is_meta:
            current = _ChannelsLast.apply(current)  # type: ignore[no-untyped-call]
        return current

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Plain weight and bias that do the same at inference, norm folded in."""
        weight = self.effective_weight().detach().clone()
        if self.norm != "batch-over-time":
            return weight, None
        norm = self.batch_norm
        assert norm.running_var is not None
        assert norm.running_mean is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shaped = factor.view(-1, *[1] * (weight.dim() - 1))
        return weight * shaped, norm.bias - norm.running_mean * factor


class _ChannelsLast(torch.autograd.Function):
    """The memory order that convolutions with such weights give; without data torch is not told."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        strides = (channels * height * width, 1, width * channels, channels)
        return x.as_strided(x.shape, strides)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class SubSample(nn.Module):
    """A skip without weights: every `stride`-th pixel, one connection per spike that it passes."""

    def __init__(self, *, stride: int, grain: int) -> None:
        super().__init__()
        self.stride, self.grain = stride, grain

    def forward(self, x: Tensor) -> Tensor:
        """`x` with time first."""
        return x[..., :: self.stride, :: self.stride]


class Layer(nn.Module):
    """A population of neurons and the connections that drive it; their currents add up.

    With `is_learned` the population has a leak and a threshold of its own, which
    start at the constants of `lif` and are trained (DIET-SNN, Rathi & Roy 2020).
    """

    leak: nn.Parameter | None
    threshold: nn.Parameter | None

    def __init__(
        self,
        name: str,
        connections: Sequence[Connections],
        *,
        lif: Lif,
        skip: SubSample | None = None,
        dropout: float = 0.0,
        has_bias: bool = True,
        is_learned: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.lif, self.dropout = name, lif, dropout
        self.connections = nn.ModuleList(connections)
        self.skip = skip
        self.feedback: Feedback | None = None
        self.bias: nn.Parameter | None = None
        if has_bias:
            self.bias = nn.Parameter(torch.zeros(connections[0].weight.shape[0]))
        self.leak = nn.Parameter(torch.tensor(lif.leak)) if is_learned else None
        self.threshold = nn.Parameter(torch.tensor(lif.threshold)) if is_learned else None

    @property
    def sources(self) -> list[Connections]:
        """`connections`, typed."""
        return [part for part in self.connections if isinstance(part, Connections)]

    def forward(self, inputs: Sequence[Tensor], steps: int, batch: ForwardContext) -> Tensor:
        """Spikes over `steps` timesteps; `inputs` one per connections, then one for the skip."""
        if self.feedback is not None:
            inputs = [*inputs, self.feedback(batch.returning.get(self), inputs[0])]
        if batch.dynamics is None:
            signal = self._fire(inputs, steps, batch)
        else:
            signal = batch.dynamics.layer(self, list(inputs), batch)
        if self.training and self.dropout > 0:
            signal = signal * self._mask(signal, batch)
        return signal

    def _fire(self, inputs: Sequence[Tensor], steps: int, batch: ForwardContext) -> Tensor:
        current = self._current(inputs, batch)
        if current.shape[0] != steps:  # a constant drive
            current = current.expand(steps, *current.shape[1:])
        left = batch.potentials.get(self)
        if batch.fire is None:
            spikes, left = self.lif(current, left, leak=self.leak, threshold=self.threshold)
        else:
            spikes, left = batch.fire(self, current, left)
        batch.potentials[self] = left
        if batch.observer is not None:
            batch.observer.layer(self, inputs, spikes)
        return spikes

    @torch.no_grad()
    def confine(self) -> None:
        """Bring learned constants back to where they have a meaning."""
        if self.leak is not None:
            self.leak.clamp_(0, 1)
        if self.threshold is not None:
            self.threshold.clamp_(min=LEAST_THRESHOLD * self.lif.threshold)

    def _current(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        if self.feedback is None:
            return self._driven(inputs, batch)
        conn = self.sources[-1]
        returned: Tensor = conn(inputs[-1], batch.weight(conn))
        return self._driven(inputs[:-1], batch) + returned

    def _driven(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        """Without feedback."""
        if self in batch.constant:
            return batch.constant[self]
        first, *others = self.sources
        current = self._from(first, inputs[0], batch, self.bias)
        for conn, x in zip(others, inputs[1:], strict=False):
            current = current + self._from(conn, x, batch)
        if self.skip is not None:
            current = current + self.skip(inputs[-1])
        if self.sources[0].is_analog and current.shape[0] == 1:
            batch.constant[self] = current
        return current

    def _from(
        self, conn: Connections, x: Tensor, batch: ForwardContext, bias: Tensor | None = None
    ) -> Tensor:
        current: Tensor = conn(x, batch.weight(conn), bias, levels=batch.levels(conn))
        return current

    def _mask(self, spikes: Tensor, batch: ForwardContext) -> Tensor:
        """One mask per image, held for all timesteps (Lee et al. 2020)."""
        if self not in batch.masks:
            kept = torch.empty_like(spikes[0]).bernoulli_(
                1 - self.dropout, generator=batch.generator
            )
            batch.masks[self] = kept / (1 - self.dropout)
        return batch.masks[self]


class PoolNeurons(Layer):
    """One neuron per value of a pooled map, which makes spikes of it again (Lee et al. 2020).

    Without leak or connections: the value is the current, and one spike in
    `grain` passes less than a threshold. What they spend is an accumulate per
    spike that arrives.
    """

    def __init__(self, name: str, *, lif: Lif, grain: int) -> None:
        super().__init__(name, [], lif=lif, has_bias=False)
        self.grain = grain

    def _current(self, inputs: Sequence[Tensor], batch: ForwardContext) -> Tensor:
        del batch
        return inputs[0]

"""Connections: the linear maps that drive layers, with their norm, delays and rewiring."""

import math
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.first_spike import START_DEVIATION, START_WEIGHT, Plasticity
from snn.network.memory.delays import Delays
from snn.network.packing import Levels, PackedMap
from snn.network.parametrizations import ConnectionParametrization, StrengthParametrization

InputKind = Literal["image", "neurons", "border", "pool"]
"""Source of inputs: the image, neurons of the same block, neurons of the previous block
("border"), or pooling neurons, which have no dropout."""

SPIKE_SCALE = 2.74
"""1 / standard deviation of a spike whose potential is N(0, 1) with threshold 1 (OTTT)."""

Norm = Literal["weight-standardised", "batch-over-time", "none"]


class PassCounter(Protocol):
    """Counts the operations of maps through connections, and of their backward passes."""

    def mapped(
        self,
        conn: "Connections",
        x: Tensor,
        weight: Tensor,
        current: Tensor,
        *,
        passes_error: bool,
    ) -> None:
        """Receive a map, before its backward pass if it is part of a graph.

        `x` (time, batch, ...) are the inputs that the gradient of the weight is made of, `current`
        (time * batch, ...) is the result; `passes_error`: whether its error goes to the inputs.
        """

    def paired(
        self, conn: "Connections", current: Tensor, inputs: Tensor, *, passes_error: bool
    ) -> None:
        """Receive the same where each result depends on a number of `inputs`, like `current`."""


class Connections(nn.Module):
    """The connections from one source to one target, a convolution or all-to-all.

    `spikes_per_unit` spikes make an input of 1: a k x k average pool before the connections
    turns k*k spikes into a value of 1. With `is_analog` inputs are real numbers instead of
    spikes, with `is_constant` the same ones at every timestep; `deviation` is their standard
    deviation if it is known. `kind` is the source of the inputs. With `groups`, a convolution
    connects each group of output channels with its group of input channels only. `lift` is the
    mean of the summed initial weights of a neuron; `identity_share` as in RunConfig.
    With `steps` above 1 each timestep has weights of its own: (outputs, steps * inputs).
    With `delays` spikes arrive later: inputs then begin as many timesteps earlier as the longest
    delay (`Delays.joined`), and `weight` is a kernel if each connection has its own.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        stride: int = 1,
        groups: int = 1,
        spikes_per_unit: int = 1,
        is_analog: bool = False,
        is_constant: bool = False,
        deviation: float | None = None,
        kind: InputKind = "neurons",
        norm: Norm = "none",
        gain: float = 1.0,
        lift: float = 0.0,
        identity_share: float = 0.0,
        generator: torch.Generator | None = None,
        delays: Delays | None = None,
    ) -> None:
        super().__init__()
        self.delays = delays
        self.stride, self.spikes_per_unit, self.norm = stride, spikes_per_unit, norm
        self.steps = 1
        self.groups = groups
        self.is_analog, self.is_constant, self.kind = is_analog, is_constant, kind
        fan_in = math.prod(shape[1:])
        weight = torch.empty(shape)
        weight.normal_(lift / fan_in, math.sqrt(2 / fan_in), generator=generator)
        if identity_share > 0 and kind != "image" and shape[0] == shape[1]:
            centre = weight.mul_(math.sqrt(1 - identity_share))
            for side in shape[2:]:  # the middle of a kernel
                centre = centre.select(2, side // 2)
            centre.diagonal().add_(math.sqrt(2 * identity_share))
        self.weight = nn.Parameter(weight)
        self.scale = SPIKE_SCALE if deviation is None else 1 / deviation
        self.trained_in = torch.float32  # number type of the products during training
        if norm == "weight-standardised":
            self.gain = nn.Parameter(torch.full((shape[0],), gain))
        elif norm == "batch-over-time":
            batch_norm = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
            self.batch_norm = batch_norm(shape[0])
            nn.init.constant_(self.batch_norm.weight, gain)
        self.parametrization: ConnectionParametrization | None = None  # set by rewiring
        self.plasticity: Plasticity | None = None
        self.counter: PassCounter | None = None  # set while operations of a batch are counted

    @property
    def is_rewired(self) -> bool:
        """Whether connections are removed and regrown during training."""
        return self.parametrization is not None

    def hold_strengths(self, *, is_regrowing: bool = True) -> None:
        """Replace `weight` by its absolute value, the strengths, and fix its signs.

        `is_regrowing` as in StrengthParametrization.
        """
        self.parametrization = StrengthParametrization(self.weight, is_regrowing=is_regrowing)
        with torch.no_grad():
            self.weight.abs_()

    @torch.no_grad()
    def learn_by_plasticity(self, generator: torch.Generator | None = None) -> None:
        """Begin with large positive weights, which no gradient changes."""
        self.weight.normal_(START_WEIGHT, START_DEVIATION, generator=generator).clamp_(0.01, 0.99)
        self.weight.requires_grad_(False)
        self.plasticity = Plasticity(len(self.weight))

    def exists(self) -> Tensor:
        """Return which connections exist, a boolean tensor like the weight."""
        weight = self.weight.detach()
        return weight != 0 if self.parametrization is None else self.parametrization.exists(weight)

    def effective_weight(self) -> Tensor:
        """Return the weight that inputs are multiplied by, without batch norm."""
        weight: Tensor = self.weight
        if self.parametrization is not None:
            weight = self.parametrization(weight)
        if self.norm == "weight-standardised":
            weight = self._standardised(weight)
        return weight

    def _standardised(self, weight: Tensor) -> Tensor:
        """Apply scaled weight standardisation (Brock et al. 2021; OTTT) per output.

        Under rewiring the mean is not subtracted: the subtraction would give removed
        connections a weight, and flip the sign of weak ones.
        """
        rows = weight.flatten(1)
        if self.parametrization is None:
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
        """Return the currents of inputs `x`, both (time, batch, ...), in single precision.

        With `levels`, inputs are stored packed for the backward pass.
        """
        if self.is_half:
            half = weight.to(self.trained_in)
            current = self.mapped(x, half, None, levels)
            if bias is None:
                current = current.to(x.dtype)
            else:  # converted first: a sum of two types would make one tensor more
                current = current.to(x.dtype).add_(bias.view(-1, *[1] * (self.weight.dim() - 2)))
        else:
            current = self.mapped(x, weight, bias, levels)
        if self.norm == "batch-over-time":
            current = self.batch_norm(current)
        # a batch without images has any number of timesteps
        steps = -1 if x.shape[1] > 0 else len(x)
        unfolded: Tensor = current.unflatten(0, (steps, x.shape[1]))
        return unfolded

    @property
    def is_half(self) -> bool:
        """Whether to map in half precision: only in training, and never an image.

        Parameters without gradient belong to a block that is already trained.
        """
        is_asked = self.trained_in != torch.float32 and not self.is_analog
        return is_asked and self.training and self.weight.requires_grad

    def mapped(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        levels: Levels | None = None,
    ) -> Tensor:
        """Return the currents (time * batch, ...) of `x` (time, batch, ...), without norm."""
        current = self.linear(x, weight, bias, levels)
        if self.counter is not None:
            self.counter.mapped(self, x, weight, current, passes_error=x.requires_grad)
        return current

    def linear(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        levels: Levels | None = None,
    ) -> Tensor:
        """Return the same as `mapped`, without being counted."""
        if self.delays is not None:
            late = self.delays.mapped(
                x, weight, stride=self.stride, groups=self.groups, levels=levels
            )
            return late if bias is None else late + bias.view(-1, *[1] * (late.dim() - 2))
        x = x.flatten(0, 1)
        if levels is None:
            return self.apply_weight(x.to(weight.dtype), weight, bias)
        x = x.flatten(1) if weight.dim() == 2 else x
        current: Tensor = PackedMap.apply(x, weight, bias, self.stride, self.groups, levels)  # type: ignore[no-untyped-call]
        return current

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the linear map of `x` (batch, ...), without norm and delays."""
        if weight.dim() == 2:
            return F.linear(x.flatten(1), weight, bias)
        current = F.conv2d(
            x,
            weight,
            bias,
            stride=self.stride,
            padding=weight.shape[-1] // 2,
            groups=self.groups,
        )
        if current.is_meta:
            current = _ChannelsLast.apply(current)  # type: ignore[no-untyped-call]
        return current

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Return weight and bias of the same map at inference, with the norm folded in."""
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
    """Gives a meta tensor the memory order that a channels-last convolution has on data."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        strides = (channels * height * width, 1, width * channels, channels)
        return x.as_strided(x.shape, strides)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class SubSample(nn.Module):
    """A skip without weights: passes every `stride`-th pixel, one connection per pixel."""

    def __init__(self, *, stride: int, spikes_per_unit: int) -> None:
        super().__init__()
        self.stride, self.spikes_per_unit = stride, spikes_per_unit

    def forward(self, x: Tensor) -> Tensor:
        """Return every `stride`-th pixel of `x` (time, batch, channels, height, width)."""
        return x[..., :: self.stride, :: self.stride]

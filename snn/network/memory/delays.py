"""Learned delays of connections (DCLS; Hammouamri et al. 2023, arXiv 2306.17670).

A connection passes a spike on d timesteps later, 0 <= d <= longest. In training d is a real
number, and the connection a Gaussian of the lag n in whole timesteps that sums up to its weight:

    current[t] = sum over n of w * g(n - d) * x[t-n]        g(z) ~ exp(-z^2 / (2 sigma^2))

so that d has a gradient from all lags at first: sigma falls exponentially from half of the
longest delay to 0.5 over the first quarter of the training, as in the released code. In evaluation
and in stored networks d is rounded to whole timesteps, and the connection is one weight.

Two forms: a delay for each connection (in convolutions for each pair of channels), or one for
each input (channel), which is that of its axon.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.packing import Levels, pack, unpack

NARROW = 0.5
"""Standard deviation of the Gaussian at the end, timesteps."""

NARROWING = 0.25
"""Share of the training over which it falls."""


class Delays(nn.Module):
    """The delays of one set of connections, drawn uniformly at first.

    `position` is a share of the longest delay, so that a learning rate means the same for every
    range: (outputs, inputs) for connections, (inputs,) for axons; both are channels in
    convolutions.
    """

    width: Tensor

    def __init__(self, kind: str, shape: tuple[int, ...], *, longest: int) -> None:
        super().__init__()
        self.kind, self.longest = kind, longest
        self.position = nn.Parameter(torch.zeros(shape))
        width = torch.tensor(max(longest / 2, NARROW))
        self.register_buffer("width", width, persistent=False)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> "Delays":
        """Draw the delays at the start; return self."""
        self.position.uniform_(generator=generator)
        return self

    @torch.no_grad()
    def settle(self, done: float) -> None:
        """Narrow the Gaussian to that of a share of the training; keep delays in their range."""
        widest = max(self.longest / 2, NARROW)
        self.width.fill_(widest * (NARROW / widest) ** min(done / NARROWING, 1))
        self.position.clamp_(0, 1)

    def whole(self) -> Tensor:
        """Return the delays in whole timesteps, like `position`, int64."""
        return (self.position.detach() * self.longest).round().to(torch.int64)

    def profile(self) -> Tensor:
        """Return the share of each lag, (longest + 1, ...) like `position`; it sums up to 1."""
        lags = torch.arange(self.longest + 1, device=self.position.device)
        lags = lags.view(-1, *[1] * self.position.dim())
        if not (self.training and self.position.requires_grad):
            return (lags == self.whole()).to(self.position.dtype)
        away = (lags - self.position * self.longest) / self.width
        return torch.softmax(-away.square() / 2, dim=0)

    def kernel(self, weight: Tensor) -> Tensor:
        """Return the weight of each lag, (longest + 1, ...) like `weight`."""
        profile = self.profile()
        if weight.dim() == 2:
            return profile * weight
        # each lag in the memory order of `ForwardContext.weight`
        last = weight.permute(0, 2, 3, 1) * profile[:, :, None, None, :]
        return last.contiguous().permute(0, 1, 4, 2, 3)

    def joined(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return inputs (time, batch, ...) after those of the `longest` timesteps before them.

        And the state after them, (batch, longest, ...); None stands for silence.
        """
        silence = (x.shape[1], self.longest, *x.shape[2:])
        before = (x.new_zeros(silence) if state is None else state).transpose(0, 1)
        # flat, because maps with channels last keep their memory order so
        flat = torch.cat([before.flatten(0, 1), x.flatten(0, 1)])
        long = flat.unflatten(0, (-1, x.shape[1]))
        return long, long[len(x) :].transpose(0, 1)

    def mapped(
        self, long: Tensor, weight: Tensor, *, stride: int, groups: int, levels: Levels | None
    ) -> Tensor:
        """Return what inputs from `joined` add up to, (time * batch, outputs, ...).

        `weight` is a `kernel` if each connection has a delay. For the backward pass the inputs are
        saved once, as bits or bytes if they have `levels`.
        """
        options = {"stride": stride, "padding": weight.shape[-1] // 2, "groups": groups}
        if self.kind == "connections":
            out: Tensor = _ByConnections.apply(long, weight, options, levels)  # type: ignore[no-untyped-call]
        else:
            shares = self.profile().to(weight.dtype)
            out = _OverAxons.apply(long, shares, weight, options, levels)  # type: ignore[no-untyped-call]
        return out


class _ByConnections(torch.autograd.Function):
    """The sum over lags of the map by each lag's weights."""

    @staticmethod
    def forward(
        ctx: Any, long: Tensor, kernel: Tensor, options: dict[str, int], levels: Levels | None
    ) -> Tensor:
        _keep(ctx, long, levels, kernel)
        ctx.options = options
        total: Tensor | None = None
        for weight, x in zip(kernel, _lags(long.to(kernel.dtype), len(kernel)), strict=True):
            part = _map(x, weight, options)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        kernel, long = _kept(ctx)
        of_long = torch.zeros_like(long) if ctx.needs_input_grad[0] else None
        into = [] if of_long is None else _lags(of_long, len(kernel))
        of_kernel = torch.empty_like(kernel)
        for lag, x in enumerate(_lags(long, len(kernel))):
            of_x, of_kernel[lag] = _map_backward(
                grad, x, kernel[lag], ctx.options, with_input=bool(into)
            )
            if into:
                into[lag].add_(of_x)
        return of_long, of_kernel, None, None


class _OverAxons(torch.autograd.Function):
    """The map of inputs that have arrived: the sum over lags of each input's share."""

    @staticmethod
    def forward(
        ctx: Any,
        long: Tensor,
        shares: Tensor,
        weight: Tensor,
        options: dict[str, int],
        levels: Levels | None,
    ) -> Tensor:
        _keep(ctx, long, levels, weight, shares)
        ctx.options = options
        return _map(_arrived(long.to(weight.dtype), shares), weight, options)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None, None]:
        weight, shares, long = _kept(ctx)
        has_long, has_shares = ctx.needs_input_grad[:2]
        arrived, of_weight = _map_backward(
            grad, _arrived(long, shares), weight, ctx.options, with_input=has_long or has_shares
        )
        of_long = torch.zeros_like(long) if has_long else None
        of_shares = torch.empty_like(shares) if has_shares else None
        for lag, x in enumerate(_lags(long, len(shares))):
            if of_shares is not None:
                of_shares[lag] = (arrived * x).sum(dim=(0, *range(2, x.dim())))
            if of_long is not None:
                share = _per_channel(shares[lag], x)
                _lags(of_long, len(shares))[lag].addcmul_(arrived, share)
        return of_long, of_shares, of_weight, None, None


def _keep(ctx: Any, long: Tensor, levels: Levels | None, *others: Tensor) -> None:
    ctx.save_for_backward(*others, pack(long, levels) if levels else long)
    ctx.levels, ctx.empty = levels, long.new_empty(0)
    ctx.shape, ctx.strides = long.shape, long.stride()


def _kept(ctx: Any) -> list[Tensor]:
    """Return the saved tensors, the inputs last, in the number type of the weights."""
    *others, long = ctx.saved_tensors
    if ctx.levels:
        long = unpack(long, ctx.levels, ctx.empty.new_empty_strided(ctx.shape, ctx.strides))
    return [*others, long.to(others[0].dtype)]


def _arrived(long: Tensor, shares: Tensor) -> Tensor:
    """Return what arrives over axons, (time * batch, ...)."""
    total: Tensor | None = None
    for x, share in zip(_lags(long, len(shares)), shares, strict=True):
        part = x * _per_channel(share, x)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))


def _map(x: Tensor, weight: Tensor, options: dict[str, Any]) -> Tensor:
    return F.linear(x, weight) if weight.dim() == 2 else F.conv2d(x, weight, **options)


def _map_backward(
    grad: Tensor, x: Tensor, weight: Tensor, options: dict[str, Any], *, with_input: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradients of input and weight; the first is not meant where it is not asked."""
    if weight.dim() == 2:
        return grad @ weight if with_input else grad, grad.T @ x
    sides = ([options["stride"]] * 2, [options["padding"]] * 2, [1, 1])
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        *(grad, x, weight, None, *sides, False, [0, 0], options["groups"]),
        [with_input, True, False],
    )
    return of_x, of_weight


def _lags(long: Tensor, count: int) -> list[Tensor]:
    """Return views of the inputs at each lag, (time * batch, ...), lag 0 first."""
    steps = len(long) - count + 1
    firsts = range(count - 1, -1, -1)
    return [long[first : first + steps].flatten(0, 1) for first in firsts]


def delay_bits(delays: Delays, alive: int) -> int:
    """Return the bits that stored delays take, of `alive` connections or of all axons."""
    count = alive if delays.kind == "connections" else math.prod(delays.position.shape)
    return count * delays.longest.bit_length()

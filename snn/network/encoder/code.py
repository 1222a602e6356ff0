"""Code neurons, which fire at random, and the price of their spikes in bits.

    u[t] = leak * u[t-1] + W s[t] + R y[t-1] + c        s: spikes of the layer before, y: own ones
    p[t] = sigmoid(u[t] + logit(r))                     y[t] is 1 with probability p[t]

(Skatchkovsky, Simeone & Jang 2021, arXiv 2106.01177.) A code neuron without input fires at the
reference rate r. What its spikes tell is at most the relative entropy of p and r in each timestep;
summed over neurons and timesteps it bounds the directed information from s to y.

In training the draws come from a generator. Otherwise they are a hash of all input spikes so far: a
network gives the same answers to the same image, alone, in any batch, and cut at any timestep.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snn.network.connections import Connections
from snn.network.layers import ForwardContext, Layer
from snn.network.memory.synapse import Synapse

WORD = 0xFFFFFFFF


def relative_entropy(potential: Tensor, rate: float) -> Tensor:
    """Return KL(p || r) in nats of p = sigmoid(u + logit(r)), in the shape of u."""
    offset = torch.logit(torch.tensor(rate, dtype=torch.float64)).to(potential)
    drive = potential + offset
    return torch.sigmoid(drive) * potential - F.softplus(drive) + F.softplus(offset)


class CodeLayer(Layer):
    """A layer of code neurons with the reference rate `rate`.

    `salt` makes the draws of one network differ from those of another. Gradients of a forward pass
    are those of p (straight through); the rule `encoder` does not use them.
    """

    def __init__(
        self,
        name: str,
        connections: Sequence[Connections],
        *,
        rate: float,
        salt: int,
        **options: Any,
    ) -> None:
        super().__init__(name, connections, **options)
        self.rate, self.salt = rate, salt
        self.membrane = Synapse(self.lif.leak)
        self.key = nn.Identity()  # owner of the hash of the inputs

    def probability(self, potential: Tensor) -> Tensor:
        """Return p for u, both (time, batch, neurons)."""
        return torch.sigmoid(potential + math.log(self.rate / (1 - self.rate)))

    def bits(self, batch: ForwardContext) -> Tensor:
        """Return the relative entropy of each timestep and image of a pass, (time, batch), bits."""
        potential = torch.cat(batch.potentials[self]).to(torch.float64)
        return relative_entropy(potential, self.rate).sum(dim=2) / math.log(2)

    def _fire(self, inputs: Sequence[Tensor], steps: int, batch: ForwardContext) -> Tensor:
        if not self.training:
            batch.states[self.key] = self._keys(inputs[0], batch.states.get(self.key))
        return super()._fire(inputs, steps, batch)

    def _spikes(self, current: Tensor, batch: ForwardContext) -> Tensor:
        potential, batch.states[self] = self.membrane(current, batch.states.get(self))
        batch.potentials.setdefault(self, []).append(potential.detach())
        p = self.probability(potential)
        fired: Tensor = _Drawn.apply(p, self._noise(p, batch))  # type: ignore[no-untyped-call]
        return fired

    def _noise(self, p: Tensor, batch: ForwardContext) -> Tensor:
        """Return uniform numbers in the shape of `p`."""
        if self.training:
            return torch.rand(p.shape, dtype=p.dtype, device=p.device, generator=batch.generator)
        keys = batch.states[self.key]
        batch.states[self.key] = keys[:, len(p) :]
        own = torch.arange(1, p.shape[2] + 1, device=p.device) * 0x9E3779B9
        words = _mixed(keys[:, 1 : len(p) + 1].T.unsqueeze(2) + _mixed(own))
        return words.to(p.dtype) / 2**32

    def _keys(self, x: Tensor, before: Tensor | None) -> Tensor:
        """Return the last hash and that of each timestep, (batch, 1 + time), for spikes `x`."""
        flat = x.flatten(2).to(torch.float64)
        own = torch.arange(1, flat.shape[2] + 1, device=x.device) + self.salt
        # whole numbers below 2^53: their sums are exact in any order
        summed = (flat @ _mixed(own).to(torch.float64)).to(torch.int64)
        keys = [torch.zeros_like(summed[0]) if before is None else before[:, -1]]
        for one in summed:
            keys.append(_mixed(keys[-1] + 1 + one))
        return torch.stack(keys, dim=1)


def _mixed(words: Tensor) -> Tensor:
    """Return 32-bit hashes of whole numbers (int64): the finalizer of MurmurHash3."""
    words = words & WORD
    words = ((words ^ (words >> 16)) * 0x85EBCA6B) & WORD
    words = ((words ^ (words >> 13)) * 0xC2B2AE35) & WORD
    return words ^ (words >> 16)


class _Drawn(torch.autograd.Function):
    """Returns 1 where the noise is below p, with the derivative of p."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, noise: Tensor) -> Tensor:
        del ctx
        return (noise < p).to(p)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grad, None

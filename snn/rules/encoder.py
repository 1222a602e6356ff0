"""A spiking encoder and an artificial decoder (VDIB, Skatchkovsky et al. 2021, arXiv 2106.01177).

Code neurons fire at random (`snn.network.encoder.code`), a decoder q reads their spikes y
(`snn.network.encoder.decoder`). Both minimise the directed information bottleneck

    L = E[-log q(target | y)] + price * sum over t and i of KL(p_i[t] || r)

The decoder learns by its gradient. A weight of the encoder has an eligibility e, its score: the
derivative of log p(y), summed forward in time from traces of its input,
trace[t] = leak trace[t-1] + x[t]:

    code neurons:    e = sum over t of (y - p)[t] (x) trace[t]
    hidden neurons:  e = sum over t of (B^T (y - p)[t]) g(h[t]) (x) trace[t]

with a surrogate g, and fixed random numbers B or the weights themselves. A step is the mean over
images of (-log q - b) e, whose baseline b = E[e^2 (-log q)] / E[e^2] of each weight has the least
variance of all constants (`Eligibility`); it is an average over the batches before, so that no
image meets itself in it. A weight learns from its second batch with an eligibility on.

The price is differentiated exactly: dKL/du = u p (1 - p). With recurrent connections spikes also
change later prices, which are then part of the learning signal.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from snn.lif import decaying_sum
from snn.lif.surrogate import SURROGATES
from snn.network.connections import Connections
from snn.network.encoder.code import CodeLayer, relative_entropy
from snn.network.encoder.decoder import Decoder, distortion
from snn.network.encoder.eligibility import Eligibility
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.neurons import Lif
from snn.rules.rule import Batch, BatchResult, time_rule


class Seen(NamedTuple):
    """What a layer received and did in a pass, each (time, batch, ...)."""

    inputs: list[Tensor]
    spikes: Tensor


class Watch:
    """Observer and firing of a pass: keeps inputs, spikes and currents of all layers."""

    def __init__(self) -> None:
        self.seen: dict[Layer, Seen] = {}
        self.currents: dict[Layer, Tensor] = {}
        self.returned: dict[Connections, Tensor] = {}

    def __call__(self, layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the spikes of the layer and its state, and keep the current."""
        past = [self.currents[layer]] if layer in self.currents else []
        self.currents[layer] = torch.cat([*past, current])
        return layer.lif(current, v)

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        self.seen[layer] = Seen(inputs=list(inputs), spikes=spikes)

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """Keep the spikes that recurrent connections bring back."""
        self.returned[connections] = inputs

    def traces(self, layer: Layer) -> Tensor:
        """Return the traces of all inputs of a layer and of a bias, (time, batch, inputs + 1)."""
        inputs, spikes = self.seen[layer]
        parts = [x.flatten(2).expand(len(spikes), -1, -1) for x in inputs]
        if layer.recurrence is not None:
            parts.append(self.returned[layer.recurrence].flatten(2))
        parts.append(torch.ones_like(parts[0][:, :, :1]))
        return decaying_sum(torch.cat(parts, dim=2), None, layer.lif.leak)


def potentials(current: Tensor, spikes: Tensor, lif: Lif) -> Tensor:
    """Return the potentials before each spike, from currents and spikes (time, batch, neurons)."""
    h, v = [], torch.zeros_like(current[0])
    for x, fired in zip(current, spikes, strict=True):
        h.append(lif.leak * v + x)
        v = h[-1] - lif.threshold * fired
    return torch.stack(h)


def errors(layers: Sequence[Layer], watch: Watch, error: Tensor) -> list[Tensor]:
    """Return the error of each layer for that of the code neurons, which are the last of them.

    Each error is (time, batch, neurons) and does not leave its timestep.
    """
    found, below = [error], error
    for layer, above in zip(reversed(layers[:-1]), reversed(layers[1:]), strict=True):
        kept = layer.eligibility
        assert kept is not None
        if kept.feedback is not None:
            back = error @ kept.feedback
        else:
            back = below @ above.sources[0].effective_weight().detach()
        lif = layer.lif
        h = potentials(watch.currents[layer], watch.seen[layer].spikes, lif)
        slope = SURROGATES[lif.surrogate].derivative(
            h - lif.firing_share * lif.threshold, lif.slope
        )
        below = back * slope * lif.height
        found.append(below)
    return found[::-1]


def score_gradient(error: Tensor, traces: Tensor, signal: Tensor, kept: Eligibility) -> Tensor:
    """Return the mean over images of (signal - baseline) e; the baseline then learns the batch.

    `error` (time, batch, neurons) and `traces` (time, batch, inputs) make the eligibilities e,
    (batch, neurons, inputs); `signal` is (batch,).
    """
    e = torch.bmm(error.permute(1, 2, 0), traces.transpose(0, 1)).flatten(1)
    rows = torch.stack([torch.ones_like(signal), signal]) / len(signal)
    shape = kept.power.shape
    mean, signalled = (rows @ e).unbind()
    gradient = signalled.view(shape) - kept.baseline() * mean.view(shape)
    gradient = torch.where(kept.power > 0, gradient, 0.0)
    power, priced = (rows @ e.square_()).unbind()
    kept.update(power.view(shape), priced.view(shape))
    return gradient


def give(layer: Layer, gradient: Tensor) -> None:
    """Add a gradient (neurons, inputs + 1) to those of the weights and the bias of a layer."""
    widths = [conn.weight.shape[1] for conn in layer.arriving]
    *of_weights, of_bias = gradient.split([*widths, 1], dim=1)
    with torch.enable_grad():
        for conn, own in zip(layer.arriving, of_weights, strict=True):
            conn.effective_weight().backward(own)
        if layer.bias is not None:
            layer.bias.backward(of_bias.squeeze(1))


def count(layer: Layer, traces: Tensor, error: Tensor, *, is_first: bool) -> None:
    """Count the operations of an error and its gradient, where somebody counts.

    Random numbers that bring an error back count like the connections that they stand for.
    """
    widths = [conn.weight.shape[1] for conn in layer.arriving]
    for conn, x in zip(layer.arriving, traces[:, :, :-1].split(widths, dim=2), strict=True):
        if conn.counter is None:
            continue
        passes = conn is not layer.recurrence and not is_first
        current = torch.zeros_like(error).flatten(0, 1).requires_grad_()
        weight = conn.effective_weight().detach()
        conn.counter.mapped(conn, x, weight, current, passes_error=passes)
        current.backward(error.flatten(0, 1))


@time_rule("encoder")
def encoder(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Make one pass, one step of the decoder by its gradient and of the encoder by its scores."""
    price = network.config.code_price
    block, x, before = network.block(batch.frozen), batch.drive, ForwardContext()
    code, decoder = block.head.hidden, block.head.readout
    assert isinstance(code, CodeLayer)
    assert isinstance(decoder, Decoder)
    state.fire = state.observer = watch = Watch()
    with torch.no_grad():
        for index in range(batch.frozen):
            x = network.block(index)(x, batch.timesteps, before)
        x = block(x, batch.timesteps, state)
        spikes = code([block.head.pool(x).flatten(2)], batch.timesteps, state)
    answers = decoder.final(spikes)
    target = batch.labels if decoder.judge is None else batch.pixels
    assert target is not None
    lost = distortion(answers, target)
    (lost.mean() * batch.share).backward()
    with torch.no_grad():
        u = torch.cat(state.potentials[code])
        p = code.probability(u)
        cost = price * relative_entropy(u, code.rate).sum(dim=(0, 2))
        signal = lost.detach() if code.recurrence is None else lost.detach() + cost
        layers = [part for part in block.modules() if isinstance(part, Layer)]
        scores = errors(layers, watch, spikes - p)
        prices = errors(layers, watch, price * u * p * (1 - p))
        for layer, score, of_price in zip(layers, scores, prices, strict=True):
            assert layer.eligibility is not None
            traces = watch.traces(layer)
            for error in (score, of_price):
                count(layer, traces, error, is_first=layer is layers[0])
            gradient = score_gradient(score, traces, signal, layer.eligibility)
            priced = of_price.flatten(0, 1).T @ traces.flatten(0, 1) / len(signal)
            give(layer, (gradient + priced) * batch.share)
    apply()
    return BatchResult(
        loss=(lost.detach() + cost).mean(),
        correct=(decoder.labels(answers.detach()) == batch.labels).sum(),
        held=tuple(part for own in (watch.currents, watch.returned) for part in own.values()),
    )

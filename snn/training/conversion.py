"""Conversion: the thresholds of a network that was trained without time.

In the spiking network each neuron integrates without leak and is reset by subtraction, so
that for a constant current z, threshold V and n = z T / V + the initial potential over V it
has fired floor(n) times after T timesteps: its rate is at most 1/T from clip(z / V, 0, 1).

- `qcfs` and `rate-norm` are trained in rates. Their thresholds are the trained ones, and the
  running maxima; no weight changes.
- `relu` is trained in activations a. With a scale per layer, a / scale are rates: weights
  are multiplied by the scale of the layer that they read, and the threshold is the scale of
  their own layer (Diehl et al. 2015; Rueckauer et al. 2017). `spike-norm` measures the scale
  in the spiking network, layer after layer (Sengupta et al. 2019).

Rate Inference Loss (Ding et al. 2021): a lower threshold fires sooner and clips more. One
factor p of all thresholds minimises

    1 - cos(outputs before conversion, outputs with p) + weight * mean of omega over layers

where omega = |r|_1 / |r|_2^2 of the rates r of a layer; 2 omega / T bounds the relative
squared error of the rates after T timesteps in a single layer. The released code compares
the network with itself there, so that only omega acts; ours compares with the network
before conversion, as published. The connections between neurons are multiplied by p as
well, so that the function changes only where rates are clipped; published are thresholds
alone. Of one number the minimum is found on a grid instead of by gradients.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.blocks import Block, layers_of
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.network.rate_maps import RateNorm
from snn.network.readout import Readout
from snn.network.seeding import generator
from snn.rules.conversion import Activations
from snn.settings.config import RunConfig
from snn.training.examples import Examples

CALIBRATION_IMAGES = 512
SCALES = tuple(step / 20 for step in range(20, 0, -1))  # the grid of p


@torch.no_grad()
def convert(runner: Network, folded: Sequence[Block], examples: Examples) -> None:
    """Set the thresholds of `folded` blocks, and scale their weights where that is needed.

    They are the folded forms of the blocks of `runner` after the frozen ones, which is in
    evaluation mode. Thresholds are found on training images, drawn from `examples`.
    """
    config, frozen = runner.config, examples.frozen
    live = [runner.block(index) for index in range(frozen, len(runner.blocks))]
    drive = _drive(config, examples, place=len(runner.blocks))
    pairs = _pairs(live, folded)
    if config.rate_map == "rate-norm":
        for trained, layer in pairs:
            assert isinstance(trained.rate_map, RateNorm)
            assert layer.threshold is not None
            layer.threshold.copy_(trained.rate_map.peak)
    before = _Scales(_percentile_of(config))
    outputs = _outputs(runner, drive, before, frozen)
    if config.rate_map == "relu":
        scale_of: Callable[[Layer], float]
        if config.calibration == "spike-norm":
            scale_of = _SpikeNorm(_joined(runner, frozen, folded), drive, frozen)
        else:
            found = {layer: before.scales[trained] for trained, layer in pairs}
            scale_of = found.__getitem__
        _scale(folded, scale_of)
    if config.rate_inference > 0:
        _lower(folded, _best_scale(runner, folded, drive, outputs, frozen))


def _drive(config: RunConfig, examples: Examples, *, place: int) -> Tensor:
    draws = generator(config.seed, "calibration", place, str(examples.labels.device))
    order = torch.randperm(len(examples), generator=draws, device=draws.device)
    return examples.batch(order[:CALIBRATION_IMAGES], draws).drive


def _pairs(live: Sequence[Block], folded: Sequence[Block]) -> list[tuple[Layer, Layer]]:
    return [
        pair
        for trained, plain in zip(live, folded, strict=True)
        for pair in zip(layers_of(trained), layers_of(plain), strict=True)
    ]


def _outputs(network: Network, drive: Tensor, dynamics: Activations, frozen: int) -> Tensor:
    """Return the outputs of all exits after the frozen blocks, (batch, classes of all)."""
    state = ForwardContext(dynamics=dynamics)
    run = network.run(drive, state, timesteps=1, frozen=frozen, wants=("logits",))
    return torch.cat([logits[0] for logits in run.logits], dim=1)


def _percentile_of(config: RunConfig) -> float:
    return config.calibration_percentile if config.calibration == "percentile" else 100.0


class _Scales(Activations):
    """Finds the percentile of the activations of each layer; 1 where none is above 0."""

    def __init__(self, percentile: float) -> None:
        self.percentile = percentile
        self.scales: dict[Layer, float] = {}

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        rates = super().layer(layer, inputs, batch)
        self.scales[layer] = _scale_in(rates, self.percentile)
        return rates


def _scale_in(values: Tensor, percentile: float) -> float:
    flat = values.flatten()
    place = max(1, round(percentile / 100 * flat.numel()))
    found = float(flat.kthvalue(place).values)
    return found if found > 0 else float(flat.amax()) or 1.0


def _scale(folded: Sequence[Block], scale_of: Callable[[Layer], float]) -> None:
    """Turn activations into rates, layer by layer in the order in which they run."""
    source = folded[0].source
    x = folded[0].first.sources[0].weight.new_ones(1, 2, *source.shape)
    state = ForwardContext(dynamics=_Scaling(scale_of))
    for block in folded:
        x = block(x, 1, state)
        block.head(x, 1, state)


class _Scaling(Activations):
    """Scales each layer when it is reached.

    Of two images, the first is 1 everywhere and the second is the scale of the layer before:
    their ratio is the scale that a set of connections reads, whatever pools are between.
    """

    def __init__(self, scale_of: Callable[[Layer], float]) -> None:
        self.scale_of = scale_of

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        for conn, x in zip(layer.sources, inputs, strict=False):
            conn.weight.mul_(_ratio(x))
        scale = self.scale_of(layer)
        assert layer.threshold is not None
        layer.threshold.fill_(scale)
        out = torch.ones_like(layer.current(inputs, batch))
        out[:, 1] = scale
        return out

    def readout(self, readout: Readout, x: Tensor, batch: ForwardContext) -> Tensor:
        readout.connections.weight.mul_(_ratio(x))
        return super().readout(readout, x, batch)


def _ratio(x: Tensor) -> float:
    return float(x[0, 1].amax() / x[0, 0].amax())


class _SpikeNorm:
    """Returns the largest current of a layer in the spiking network, those before it scaled."""

    def __init__(self, network: Network, drive: Tensor, frozen: int) -> None:
        self.network, self.drive, self.frozen = network, drive, frozen
        self.wanted: Layer | None = None
        self.largest = 0.0

    def __call__(self, layer: Layer) -> float:
        self.wanted, self.largest = layer, 0.0
        self.network.run(
            self.drive,
            ForwardContext(fire=self._fire),
            timesteps=self.network.config.timesteps,
            frozen=self.frozen,
            wants=("logits",),
        )
        return self.largest or 1.0

    def _fire(self, layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        if layer is self.wanted:
            self.largest = max(self.largest, float(current.amax()))
        from_rest = replace(layer.lif, firing_share=1.0)
        return from_rest(current, v, leak=layer.leak, threshold=layer.threshold)


class _Omegas(Activations):
    """Computes omega of each layer."""

    def __init__(self) -> None:
        self.omegas: list[Tensor] = []

    def layer(self, layer: Layer, inputs: list[Tensor], batch: ForwardContext) -> Tensor:
        rates = super().layer(layer, inputs, batch)
        power = rates.square().sum()
        if power > 0:
            self.omegas.append(rates.sum() / power)
        return rates


def _best_scale(
    network: Network, folded: Sequence[Block], drive: Tensor, outputs: Tensor, frozen: int
) -> float:
    """Return the p of SCALES with the lowest loss; of equal ones the largest."""

    def loss(scale: float) -> float:
        lowered = copy.deepcopy(list(folded))
        _lower(lowered, scale)
        omegas = _Omegas()
        ours = _outputs(_joined(network, frozen, lowered), drive, omegas, frozen)
        apart = 1 - F.cosine_similarity(ours, outputs, dim=1).mean()
        spread = torch.stack(omegas.omegas).mean() if omegas.omegas else torch.zeros(())
        return float(apart + network.config.rate_inference * spread)

    return min(SCALES, key=loss)


def _joined(network: Network, frozen: int, folded: Sequence[Block]) -> Network:
    """Return the frozen blocks of a network followed by others, without an operating point."""
    joined = Network(network.config.replace(threshold_scale=1.0), network.task)
    joined.blocks.extend([*list(network.blocks)[:frozen], *folded])
    return joined.eval()


def _lower(folded: Sequence[Block], scale: float) -> None:
    """Multiply thresholds and the connections between neurons by `scale`.

    Written as its equal: what enters the first block and all biases are divided by it.
    """
    for place, block in enumerate(folded):
        for layer in layers_of(block):
            if layer.bias is not None:
                layer.bias.div_(scale)
            for conn in layer.sources:
                if conn.kind == "image" or (place == 0 and conn.kind == "border"):
                    conn.weight.div_(scale)
        if isinstance(block.head.readout, Readout):
            block.head.readout.connections.weight.mul_(scale)


@torch.no_grad()
def begin(live: Sequence[Block], converted: Sequence[Block], *, scale: float) -> None:
    """Give `live` blocks without norm the weights and thresholds of converted ones.

    Thresholds are multiplied by `scale` (DIET-SNN, Rathi & Roy 2020). Layers with a threshold
    of their own take it; of the others weights and biases are divided by it, which is the same.
    """
    for layer, source in _pairs(live, converted):
        assert source.threshold is not None
        threshold, factor = source.threshold * scale, torch.ones(())
        if layer.threshold is not None:
            layer.threshold.copy_(threshold)
        else:
            factor = layer.lif.threshold / threshold
        for conn, trained in zip(layer.sources, source.sources, strict=True):
            conn.weight.copy_(trained.weight * factor)
        if layer.bias is not None and source.bias is not None:
            layer.bias.copy_(source.bias * factor)
    for block, done in zip(live, converted, strict=True):
        ours, theirs = block.head.readout, done.head.readout
        if isinstance(ours, Readout) and isinstance(theirs, Readout):
            ours.connections.weight.copy_(theirs.connections.weight)
            ours.bias.copy_(theirs.bias)

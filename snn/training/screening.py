"""What one batch tells of a network before it is trained.

The scores of a random network, from one pass of 64 training images and one backward pass:

- `distance`: how differently the images make neurons fire. The spikes of a layer at one
  timestep are a binary code of each image. The Hamming distance of two codes is divided by that
  of independent codes with the same numbers of spikes, so that sparse codes count like dense ones
  (sparsity-aware Hamming distance of SNASNet, Kim et al. 2022, arXiv 2201.10355). The score is
  the logarithm of the determinant of the images' similarities, averaged over layers and
  timesteps.
- `growth`: the factor of the gradient from a layer to the one before it (`snn.training.growth`).
- `silent`, `saturated`: the share of neurons that never fire, or always, in the worst layer.

Ours, and not SNASNet's: similarities are averaged, not added up, so that scores of networks with
different depths and timesteps have the same range; a ridge keeps the determinant above 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snn.data.dataset import Split
from snn.network.blocks import build_block
from snn.network.connections import Connections
from snn.network.layers import Layer
from snn.network.network import Network, Task, input_signal
from snn.network.seeding import generator
from snn.settings.config import RunConfig
from snn.training.examples import examples_after
from snn.training.growth import IMAGES, gradient_sizes, growth

RIDGE = 1e-3  # of the similarities' matrix: equal codes of two images give no minus infinity


@dataclass(frozen=True, kw_only=True)
class Screening:
    """The scores of a network before training."""

    distance: float  # logarithm of a determinant; more is better
    growth: float  # 1: gradients of equal size; NaN: of fewer than two layers, or none at all
    silent: float  # 0..1, of the neurons of the worst layer
    saturated: float  # 0..1, of the neurons of the worst layer
    spike_rate: float  # spikes per neuron and timestep

    @property
    def imbalance(self) -> float:
        """Distance of the growth from 1, as a logarithm; infinity without gradients."""
        return abs(math.log(self.growth)) if self.growth > 0 else math.inf


def screen(config: RunConfig, split: Split, *, device: str = "cpu") -> Screening:
    """Return the scores of the random network of a config, with all its blocks.

    The images are drawn by the config's seed. Gradients are those of `bptt` through all
    blocks, whatever the config says of rules.
    """
    task = Task(image_shape=split.image_shape, classes=split.classes, deviation=split.deviation)
    network, signal = Network(config, task), input_signal(config, task)
    examples, _ = examples_after(Network(config, task), split, range(split.classes))
    for index in range(config.exits):
        block = build_block(config, index, signal, range(split.classes))
        network.blocks.append(block)
        signal = block.signal
    network.to(device)
    draws = generator(config.seed, "screening", 0, device)
    order = torch.randperm(len(examples), generator=draws, device=draws.device)
    codes = _Codes()
    sizes = gradient_sizes(network, examples.batch(order[:IMAGES], draws), observer=codes)
    return Screening(
        distance=codes.distance(),
        growth=growth(sizes),
        silent=max(codes.shares(fires=0.0)),
        saturated=max(codes.shares(fires=1.0)),
        spike_rate=codes.spike_rate(),
    )


class _Codes:
    """Collects spikes of all layers; see Observer."""

    def __init__(self) -> None:
        self._similar: Tensor | None = None  # (images, images), summed
        self._codes = 0
        self._sums: dict[Layer, Tensor] = {}  # spikes of each neuron
        self._possible: dict[Layer, int] = {}  # timesteps times images

    @torch.no_grad()
    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """See Observer."""
        del inputs
        fired = (spikes != 0).flatten(2).double()  # (time, images, neurons)
        for code in fired:
            similar = _similarity(code)
            self._similar = similar if self._similar is None else self._similar + similar
            self._codes += 1
        total = fired.sum(dim=(0, 1))
        self._sums[layer] = self._sums[layer] + total if layer in self._sums else total
        count = fired.shape[0] * fired.shape[1]
        self._possible[layer] = self._possible.get(layer, 0) + count

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        del connections, inputs

    def distance(self) -> float:
        """Return the logarithm of the determinant of the mean similarities."""
        assert self._similar is not None, "a network without layers"
        mean = self._similar / self._codes
        ridge = RIDGE * torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        return float(torch.linalg.slogdet(mean + ridge).logabsdet)

    def shares(self, *, fires: float) -> list[float]:
        """Return for each layer the share of neurons that fire in that share of all cases."""
        return [
            float((total / self._possible[layer] == fires).double().mean())
            for layer, total in self._sums.items()
        ]

    def spike_rate(self) -> float:
        """Return the spikes per neuron and timestep."""
        spikes = sum(float(total.sum()) for total in self._sums.values())
        possible = sum(len(total) * self._possible[x] for x, total in self._sums.items())
        return spikes / possible


def _similarity(code: Tensor) -> Tensor:
    """Return 1 less half of each distance over that of independent codes, (images, images).

    1 for equal codes, 0.5 for independent ones. `code` is 0 or 1, (images, neurons).
    """
    rate = code.mean(dim=1, keepdim=True)
    differing = (code @ (1 - code).T + (1 - code) @ code.T) / code.shape[1]
    expected = rate @ (1 - rate).T + (1 - rate) @ rate.T
    return 1 - 0.5 * differing / expected.clamp(min=1e-12)

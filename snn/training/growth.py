"""Sizes of gradients by layer, and the calibration of surrogates to gradients of equal size.

Deep spiking networks fail to learn when the gradient of the currents grows or shrinks from
layer to layer (Ledinauskas et al. 2020, arXiv 2006.04436). Behind a norm over the batch,
neither the scale nor the number of weights matters: what is left is the surrogate. No gradient
passes a reset here, so that the gradient of a layer is proportional to the height of the
surrogate, once for each layer on its way. In a chain of layers the growth per layer is
therefore proportional to the height, and one measurement gives the height for any growth;
networks with skips take a few.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snn.network.blocks import layers_of
from snn.network.layers import ForwardContext, Layer, Observer
from snn.network.network import Network
from snn.network.seeding import generator
from snn.rules import Batch
from snn.rules.bptt import bptt
from snn.training.examples import Examples

IMAGES = 64
STEPS = 10  # at most; a chain of layers needs 1
CLOSE = 0.005  # of the logarithm of the growth


def gradient_sizes(
    network: Network, batch: Batch, *, observer: Observer | None = None
) -> dict[str, float]:
    """Return the root mean square of the gradient of each live layer's currents, first to last.

    By `bptt`, over images, timesteps and neurons. The network is not changed; `observer` sees
    the pass of a copy.
    """
    own = copy.deepcopy(network)
    own.memory_mode = "full"
    own.train()
    for block in list(own.blocks)[: batch.frozen]:
        block.eval()
    seen: dict[Layer, list[Tensor]] = {}

    def fire(layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        if current.requires_grad:
            current.retain_grad()
            seen.setdefault(layer, []).append(current)
        spikes, left = layer.lif(current, v, leak=layer.leak, threshold=layer.threshold)
        return spikes, left

    draws = torch.Generator(batch.drive.device).manual_seed(0)
    context = ForwardContext(fire=fire, generator=draws, observer=observer)
    bptt(own, batch, context, apply=lambda: None)
    sizes = {}
    for block in list(own.blocks)[batch.frozen :]:
        for layer in layers_of(block):
            # a layer whose spikes reach no output has no gradient
            parts = [x.grad.flatten() for x in seen.get(layer, ()) if x.grad is not None]
            size = float(torch.cat(parts).square().mean().sqrt()) if parts else 0.0
            sizes[layer.name] = size
    return sizes


def growth(sizes: Mapping[str, float]) -> float:
    """Return the factor per layer from the last layer to the first; NaN for fewer than 2."""
    values = list(sizes.values())
    if len(values) < 2 or min(values[0], values[-1]) <= 0:
        return math.nan
    return float((values[0] / values[-1]) ** (1 / (len(values) - 1)))


def calibrate(network: Network, examples: Examples, *, target: float) -> None:
    """Set the height of the surrogates of all live layers, so that gradients grow by `target`.

    One batch of training images, drawn by the seed, is used. Where there is no growth, because
    of one layer or of silent ones, the height stays.
    """
    config = network.config
    draws = generator(config.seed, "growth", len(network.blocks), str(examples.labels.device))
    order = torch.randperm(len(examples), generator=draws, device=draws.device)
    batch = examples.batch(order[:IMAGES], draws)
    for _ in range(STEPS):
        found = growth(gradient_sizes(network, batch))
        if not math.isfinite(found) or abs(math.log(found / target)) < CLOSE:
            return
        for block in list(network.blocks)[batch.frozen :]:
            for layer in layers_of(block):
                layer.lif = replace(layer.lif, height=layer.lif.height * target / found)

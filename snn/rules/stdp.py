"""Spike-timing-dependent plasticity without labels (Kheradpisheh et al. 2018, arXiv 1611.01421).

Neurons fire at most once (`snn.network.first_spike`); at each position only the map that fires
first does. Of each image the first `stdp_winners` neurons learn, at most one per map, farther
than `stdp_radius` pixels from each other: an input that fired no later than the winner is
strengthened, all others are weakened,

    dw = a+ w (1 - w)      or      dw = a- w (1 - w)           a- = -0.75 a+

so that logit(w) moves by a+ or a-. A batch adds these moves up, which for one image is the same
to first order. All positions of a map share its weights. In the first layer the rate a+ doubles
every `DOUBLED_AFTER` images up to `HIGHEST_RATE`; in later ones it is constant, as published. A
layer stops when the mean of w (1 - w) falls below `CONVERGED`. Weights of 0 and 1 no longer
change: a removed connection (`snn.rewiring.stdp`) stays removed.

The readout is linear and learns from the labels by its own gradient, from which spikes fired
at all. No error enters the layers, and nothing of them is kept for a backward pass.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from snn.network.connections import Connections
from snn.network.cost import fan_out
from snn.network.first_spike import Plasticity
from snn.network.layers import ForwardContext, Layer
from snn.network.network import Network
from snn.rules.rule import Batch, BatchResult, time_rule
from snn.rules.spike_time import first_times
from snn.settings.config import RunConfig

DEPRESSION = 0.75  # a- over a+
DOUBLED_AFTER = 500  # images
HIGHEST_RATE = 0.15
CONVERGED = 0.01


class Winners(NamedTuple):
    """The neurons that learn, (winners,) each."""

    image: Tensor
    map: Tensor
    place: Tensor  # row * width + column
    time: Tensor


def winners(times: Tensor, potentials: Tensor, *, count: int, radius: int) -> Winners:
    """Return the earliest neurons of each image, of equal ones those with the highest potential.

    `times` and `potentials` (at the spike) are (batch, maps, height, width). A winner excludes
    its map, and all maps up to `radius` pixels away.
    """
    images, maps, height, width = times.shape
    span = potentials.amax() + 1
    score = torch.where(times.isfinite(), potentials - times * span, -torch.inf)
    rows, columns = torch.arange(height), torch.arange(width)
    every = torch.arange(images)
    found = []
    for _ in range(count):
        best, flat = score.flatten(1).max(dim=1)
        chosen = best.isfinite()
        which, place = flat // (height * width), flat % (height * width)
        at = times.flatten(1).gather(1, flat.unsqueeze(1)).squeeze(1)
        found.append(Winners(every[chosen], which[chosen], place[chosen], at[chosen]))
        near_row = (rows - (place // width).unsqueeze(1)).abs() <= radius
        near_column = (columns - (place % width).unsqueeze(1)).abs() <= radius
        near = near_row.unsqueeze(2) & near_column.unsqueeze(1)
        same = torch.arange(maps) == which.unsqueeze(1)
        score = score.masked_fill(near.unsqueeze(1) | same[:, :, None, None], -torch.inf)
    return Winners(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def rate_after(images: float, *, start: float) -> float:
    """Return a+ after a number of images."""
    doublings = min(images // DOUBLED_AFTER, 60)
    return float(min(start * 2.0**doublings, max(HIGHEST_RATE, start)))


@torch.no_grad()
def strengthen(conn: Connections, inputs: Tensor, won: Winners, *, rate: float) -> None:
    """Apply the rule to the weights; `inputs` are spike times (batch, channels, height, width)."""
    side = conn.weight.shape[-1]
    padded = F.pad(inputs, [side // 2] * 4, value=torch.inf)
    patches = F.unfold(padded, side, stride=conn.stride)  # (batch, inputs of a neuron, places)
    causes = patches[won.image, :, won.place] <= won.time.unsqueeze(1)
    moves = torch.where(causes, rate, -DEPRESSION * rate).to(conn.weight.dtype)
    summed = torch.zeros(len(conn.weight), moves.shape[1], dtype=moves.dtype)
    summed.index_add_(0, won.map, moves)
    weight = torch.sigmoid(torch.logit(conn.weight) + summed.view_as(conn.weight))
    is_fixed = (conn.weight <= 0) | (conn.weight >= 1)
    conn.weight.copy_(torch.where(is_fixed, conn.weight, weight))
    plasticity = plasticity_of(conn)
    plasticity.updates.index_add_(0, won.map, torch.ones_like(won.time, dtype=torch.float64))
    fan_in = (conn.weight != 0).flatten(1).sum(dim=1, dtype=torch.float64)
    plasticity.writes.add_(fan_in[won.map].sum())


def plasticity_of(conn: Connections) -> Plasticity:
    """Return the plasticity of connections, which must have one."""
    assert conn.plasticity is not None
    return conn.plasticity


def unsettled(conn: Connections) -> float:
    """Return the mean of w (1 - w) over existing connections: from 0 to 1/4, 0 when all settled."""
    weight = conn.weight.detach()
    alive = weight > 0
    return float((weight * (1 - weight)).sum() / alive.sum().clamp(min=1))


class Learner:
    """Observer and firing of one pass: layers with plasticity learn from it."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self._currents: dict[Layer, Tensor] = {}

    def __call__(self, layer: Layer, current: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the spikes of the layer and its state, and keep the current."""
        self._currents[layer] = current
        spikes, left = layer.lif(current, v)
        return spikes, left

    def layer(self, layer: Layer, inputs: Sequence[Tensor], spikes: Tensor) -> None:
        """Learn from the inputs and spikes of all timesteps."""
        current = self._currents.pop(layer)
        conn = next((part for part in layer.sources if part.plasticity is not None), None)
        if conn is None or spikes.is_meta:
            return
        plasticity, x = plasticity_of(conn), inputs[0]
        seen = float(plasticity.images)
        plasticity.images.add_(x.shape[1])
        if unsettled(conn) < CONVERGED:
            return
        fan = fan_out(conn, x.shape[2:]) * conn.spikes_per_unit
        plasticity.arrivals.add_((x.sum(dim=(0, 1), dtype=torch.float64) * fan).sum())
        times = first_times(spikes)
        last = times.masked_fill(~times.isfinite(), 0).to(torch.int64).unsqueeze(0)
        potentials = current.cumsum(dim=0).gather(0, last).squeeze(0)
        config = self.config
        won = winners(times, potentials, count=config.stdp_winners, radius=config.stdp_radius)
        rate = config.stdp_rate
        if conn.kind == "image":
            rate = rate_after(seen, start=rate)
        strengthen(conn, first_times(x), won, rate=rate)

    def readout(self, connections: Connections, inputs: Tensor) -> None:
        """See Observer."""
        del connections, inputs


@time_rule("stdp")
def stdp(
    network: Network, batch: Batch, state: ForwardContext, *, apply: Callable[[], None]
) -> BatchResult:
    """Let the layers of the first live block learn from one pass, and its readout one step."""
    x, before = batch.drive, ForwardContext()
    block = network.block(batch.frozen)
    learner = Learner(network.config.of_block(batch.frozen))
    state.fire, state.observer = learner, learner
    with torch.no_grad():
        for index in range(batch.frozen):
            x = network.block(index)(x, batch.timesteps, before)
        x = block(x, batch.timesteps, state)
    # linear, so that one map of the summed spikes takes the place of one per timestep
    output: Tensor = block.head.mean(
        block.head.summed(x, batch.timesteps, state), batch.timesteps, state
    )
    loss = F.cross_entropy(output, batch.labels)
    (loss * batch.share).backward()
    apply()
    return BatchResult(loss=loss.detach(), correct=(output.argmax(dim=1) == batch.labels).sum())

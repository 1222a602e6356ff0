"""Blocks: units and the exit behind them, and what they are built with."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snn.network.feedback import feed_back
from snn.network.layers import (
    Connections,
    ForwardContext,
    Layer,
    Norm,
    Origin,
    PoolNeurons,
    SubSample,
)
from snn.network.neurons import Lif
from snn.network.pooling import Pooling, SpikePool
from snn.network.totals import answered_in_order, total
from snn.settings.backbones import BACKBONES, ConvUnit, DenseUnit, ResidualUnit, Unit
from snn.settings.config import RunConfig

POOL_THRESHOLD = 0.75
"""Of pooling neurons (Lee et al. 2020, as released)."""


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """What flows between units: its shape without time and batch, and spikes per value of 1."""

    shape: tuple[int, ...]
    grain: int = 1
    is_analog: bool = False
    origin: Origin = "neurons"


@dataclass(frozen=True, kw_only=True)
class BlockBuilder:
    """What every part of a network is built with."""

    lif: Lif
    norm: Norm
    dropout: float
    generator: torch.Generator
    pooling: str = "average"  # as in RunConfig
    is_learned: bool = False  # leak and threshold of every layer
    is_folded: bool = False

    def layer(
        self,
        name: str,
        shapes: Sequence[tuple[int, ...]],
        sources: Sequence[SignalSpec],
        *,
        strides: Sequence[int] = (1, 1),
        skip: SubSample | None = None,
    ) -> Layer:
        """A layer driven by one connection set per shape; their currents share unit variance."""
        summed = len(shapes) + (skip is not None)
        connections = [
            Connections(
                shape,
                stride=stride,
                grain=source.grain,
                is_analog=source.is_analog,
                origin=source.origin,
                norm=self.norm,
                gain=1 / math.sqrt(summed),
                generator=self.generator,
            )
            for shape, source, stride in zip(shapes, sources, strides, strict=False)
        ]
        has_bias = self.is_folded or self.norm != "batch-over-time"
        return Layer(
            name,
            connections,
            lif=self.lif,
            skip=skip,
            dropout=self.dropout,
            has_bias=has_bias,
            is_learned=self.is_learned,
        )

    def pool_neurons(self, name: str, pool: SpikePool) -> PoolNeurons | None:
        """The neurons that a unit's pool drives, if any."""
        if self.pooling != "spiking" or pool.kernel == 1:
            return None
        lif = replace(
            self.lif,
            leak=1.0,
            threshold=POOL_THRESHOLD,
            reset="hard",
            firing_share=1.0,
            strict=True,
        )
        return PoolNeurons(name, lif=lif, grain=pool.grain)


class Conv(nn.Module):
    """Convolution, neurons, and a pool where the unit has one."""

    def __init__(
        self, unit: ConvUnit, width: int, source: SignalSpec, anatomy: BlockBuilder, name: str
    ):
        super().__init__()
        channels, height = unit.channels * width, source.shape[1]
        shape = (channels, source.shape[0], unit.kernel, unit.kernel)
        self.layer = anatomy.layer(name, [shape], [source])
        window: Pooling = "max" if anatomy.pooling == "max" else "average"
        self.pool = SpikePool(height, kernel=2 if unit.pool else 1, pooling=window)
        self.pooled = anatomy.pool_neurons(f"{name}.pool", self.pool)
        side, grain = self.pool.side, self.pool.grain if self.pooled is None else 1
        origin: Origin = "neurons" if self.pooled is None else "pool"
        self.signal = SignalSpec(shape=(channels, side, side), grain=grain, origin=origin)

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        pooled: Tensor = self.pool(self.layer([x], steps, batch))
        return pooled if self.pooled is None else self.pooled([pooled], steps, batch)


class Residual(nn.Module):
    """Two convolutions; the skip current joins the second before its neurons (Lee 2020)."""

    def __init__(
        self, unit: ResidualUnit, width: int, source: SignalSpec, anatomy: BlockBuilder, name: str
    ):
        super().__init__()
        inner, channels = source.shape[0], unit.channels * width
        side = math.ceil(source.shape[1] / unit.stride)
        self.first = anatomy.layer(f"{name}.conv1", [(channels, inner, 3, 3)], [source])
        between = SignalSpec(shape=(channels, *source.shape[1:]))
        shapes: list[tuple[int, ...]] = [(channels, channels, 3, 3)]
        skip = None
        if unit.skip == "conv":
            shapes.append((channels, inner, 1, 1))
        else:
            skip = SubSample(stride=unit.stride, grain=source.grain)
        self.second = anatomy.layer(
            f"{name}.conv2", shapes, [between, source], strides=[unit.stride] * 2, skip=skip
        )
        self.signal = SignalSpec(shape=(channels, side, side))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        spikes: Tensor = self.second([self.first([x], steps, batch), x], steps, batch)
        return spikes


class Dense(nn.Module):
    """All-to-all connections and their neurons."""

    def __init__(
        self, unit: DenseUnit, width: int, source: SignalSpec, anatomy: BlockBuilder, name: str
    ):
        super().__init__()
        neurons = unit.neurons * width
        self.layer = anatomy.layer(name, [(neurons, math.prod(source.shape))], [source])
        self.signal = SignalSpec(shape=(neurons,))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        spikes: Tensor = self.layer([x.flatten(2)], steps, batch)
        return spikes


class Readout(nn.Module):
    """Targets that integrate and never fire; their output is the mean input so far."""

    def __init__(self, source: SignalSpec, targets: int, anatomy: BlockBuilder) -> None:
        super().__init__()
        self.connections = Connections(
            (targets, math.prod(source.shape)), grain=source.grain, generator=anatomy.generator
        )
        with torch.no_grad():
            # quiet at first: an early loud readout drowns the gradient of the others
            self.connections.weight.mul_(0.5)
        self.bias = nn.Parameter(torch.zeros(targets))

    def forward(self, x: Tensor, batch: ForwardContext, *, packs: bool = True) -> Tensor:
        """Input to the integrators, (time, batch, targets); `packs` where `x` may be packed."""
        if batch.observer is not None:
            batch.observer.readout(self.connections, x)
        x = x.flatten(2)
        if batch.dynamics is not None:
            return batch.dynamics.readout(self, x, batch)
        conn = self.connections
        levels = batch.levels(conn) if packs else None
        current: Tensor = conn(x, batch.weight(conn), self.bias, levels=levels)
        return current


class Head(nn.Module):
    """The exit of a block: pool, one spiking layer, class readout, hard-class detector.

    The readout has `votes` targets per class, one class behind the other, whose
    outputs are averaged. They are integrators, or a layer of spiking neurons (as in
    Grad R), whose output is the spikes that they send. `classes` are the labels that
    the readout tells apart, `hard` those of them that go on to the next block. The
    detector has two outputs: easy, hard.
    """

    def __init__(
        self,
        source: SignalSpec,
        config: RunConfig,
        classes: Sequence[int],
        anatomy: BlockBuilder,
        name: str,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.hard: tuple[int, ...] = ()
        if len(source.shape) == 3:
            side = source.shape[1]
            self.pool = SpikePool(side, kernel=math.ceil(side / config.head_grid))
            pooled = (source.shape[0], self.pool.side, self.pool.side)
            source = replace(source, shape=pooled, grain=source.grain * self.pool.grain)
        else:
            self.pool = SpikePool(1, kernel=1)
        self.hidden: Layer | None = None
        if config.head_hidden > 0:
            shape = (config.head_hidden, math.prod(source.shape))
            self.hidden = anatomy.layer(f"{name}.hidden", [shape], [source])
            source = SignalSpec(shape=(config.head_hidden,))
        self.source = source
        self.votes = config.votes
        targets = len(self.classes) * self.votes
        self.readout: Readout | Layer
        if config.readout == "spiking":
            shape = (targets, math.prod(source.shape))
            deciding = replace(anatomy, dropout=0.0)  # no class is silenced
            self.readout = deciding.layer(f"{name}.readout", [shape], [source])
        else:
            self.readout = Readout(source, targets, anatomy)
        self.detector: Readout | None = None

    def add_detector(self, anatomy: BlockBuilder) -> Readout:
        """A fresh hard-class detector."""
        self.detector = Readout(self.source, 2, anatomy)
        return self.detector

    def forward(self, spikes: Tensor, steps: int, batch: ForwardContext) -> tuple[Tensor, Tensor]:
        """Per class the integrators' input or mean spike, and what they and the detector read."""
        x = self._read(self._signal(spikes, steps, batch))
        if isinstance(self.readout, Layer):
            outputs: Tensor = self.readout([x], steps, batch)
        else:
            outputs = self.readout(x, batch)
        return self._averaged(outputs), x

    def summed(self, spikes: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Sum over time (1, batch, ...) of what `mean` makes the mean outputs from.

        Pooling and readout are linear: where integrators read spikes, their
        inputs are made once per image and not once per timestep.
        """
        if isinstance(self.readout, Layer):
            outputs: Tensor = self(spikes, steps, batch)[0]
            return total(outputs)
        return total(self._signal(spikes, steps, batch))

    def mean(self, summed: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Mean over `steps` timesteps of the outputs, (batch, classes)."""
        if isinstance(self.readout, Layer):
            return summed[0] / steps
        x = self._read(answered_in_order(summed) / steps)
        outputs: Tensor = self.readout(x, batch, packs=False)
        return self._averaged(outputs)[0]

    def _signal(self, spikes: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """The spikes that reach the readout: the block's, or those of the hidden layer."""
        if self.hidden is None:
            return spikes
        hidden: Tensor = self.hidden([self.pool(spikes).flatten(2)], steps, batch)
        return hidden

    def _read(self, signal: Tensor) -> Tensor:
        pooled: Tensor = self.pool(signal).flatten(2) if self.hidden is None else signal
        return pooled

    def _averaged(self, outputs: Tensor) -> Tensor:
        """Over the votes of each class; `outputs` has them in its last dimension."""
        if self.votes == 1:
            return outputs
        votes: Tensor = outputs.unflatten(-1, (len(self.classes), self.votes))
        return votes.mean(dim=-1)


class Block(nn.Module):
    """Units trained together, and their exit head."""

    def __init__(
        self, units: Sequence[nn.Module], head: Head, source: SignalSpec, signal: SignalSpec
    ):
        super().__init__()
        self.units = nn.ModuleList(units)
        self.head = head
        self.source, self.signal = source, signal

    @property
    def first(self) -> Layer:
        """The layer that gets the block's input."""
        return next(part for part in self.units.modules() if isinstance(part, Layer))

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Spikes that leave the block, (steps, batch, ...)."""
        for unit in self.units:
            x = unit(x, steps, batch)
        if self.first.feedback is not None:
            batch.returning[self.first] = x.detach()
        return x


_BUILDERS = {ConvUnit: Conv, ResidualUnit: Residual, DenseUnit: Dense}


def generator(seed: int, purpose: str, index: int = 0, device: str = "cpu") -> torch.Generator:
    """A generator of its own for each purpose, so that no two draws depend on each other."""
    words = [seed, index, *purpose.encode()]
    state = 0xCBF29CE484222325
    for word in words:  # FNV-1a over 64 bits
        state = ((state ^ (word & 0xFFFFFFFFFFFFFFFF)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return torch.Generator(device=device).manual_seed(state >> 1)


def anatomy_of(
    config: RunConfig, *, block: int, is_folded: bool = False, purpose: str = "weights"
) -> BlockBuilder:
    """How block `block` (from 0) is built: constants, norm, and a random generator of its own."""
    lif = Lif(
        leak=config.leak,
        threshold=config.threshold,
        reset="soft" if config.reset == "soft" else "hard",
        surrogate=config.surrogate,
        slope=config.surrogate_slope,
        firing_share=config.firing_share,
        strict=config.time_rule == "spike-bp",
    )
    norm: Norm = "none" if is_folded else config.norm  # type: ignore[assignment]  # checked there
    return BlockBuilder(
        lif=lif,
        norm=norm,
        dropout=config.dropout,
        generator=generator(config.seed, purpose, block),
        pooling=config.pooling,
        is_learned=config.neuron == "learned",
        is_folded=is_folded,
    )


def build_block(
    config: RunConfig,
    index: int,
    source: SignalSpec,
    classes: Sequence[int],
    *,
    is_folded: bool = False,
) -> Block:
    """Block `index` (from 0) of a config, freshly initialised, telling `classes` apart."""
    anatomy = anatomy_of(config, block=index, is_folded=is_folded)
    first = sum(config.blocks[:index])
    specs: Sequence[Unit] = BACKBONES[config.backbone].units
    units: list[nn.Module] = []
    signal = replace(source, origin="border") if source.origin == "neurons" else source
    for number in range(first, first + config.blocks[index]):
        spec = specs[number]
        name = f"unit{number + 1}"
        unit = _BUILDERS[type(spec)](spec, config.width, signal, anatomy, name)
        units.append(unit)
        assert isinstance(unit.signal, SignalSpec)
        signal = unit.signal
    head = Head(signal, config, classes, anatomy, f"exit{index + 1}")
    block = Block(units, head, source, signal)
    if config.feedback == "last-to-first":
        feed_back(
            block.first,
            signal.shape,
            grain=signal.grain,
            side=source.shape[-1],
            draws=generator(config.seed, "feedback", index),
        )
    for layer in layers_of(block):  # not readouts, which get mean spikes
        for conn in layer.sources:
            conn.trained_in = getattr(torch, config.precision)
    return block


def connections_of(module: nn.Module) -> list[Connections]:
    """All connections in a module, in a fixed order."""
    return [part for part in module.modules() if isinstance(part, Connections)]


def layers_of(module: nn.Module) -> list[Layer]:
    """All layers in a module, in a fixed order."""
    return [part for part in module.modules() if isinstance(part, Layer)]


@torch.no_grad()
def fold_for_inference(config: RunConfig, index: int, block: Block) -> Block:
    """The same block with plain weights: norm folded in, connections that are gone at zero.

    This is the form that is evaluated, stored and run elsewhere, and that later
    blocks are trained behind.
    """
    plain = build_block(config, index, block.source, block.head.classes, is_folded=True)
    plain.head.hard = block.head.hard
    if block.head.detector is not None:
        plain.head.add_detector(anatomy_of(config, block=index, is_folded=True))
    device = next(block.parameters()).device
    plain.to(device)
    for old, new in zip(connections_of(block), connections_of(plain), strict=True):
        new.weight.copy_(old.folded()[0])
    for layer, target in zip(layers_of(block), layers_of(plain), strict=True):
        if target.bias is None:  # pooling neurons have nothing to learn
            continue
        biases = [conn.folded()[1] for conn in layer.sources]
        parts = [bias for bias in [layer.bias, *biases] if bias is not None]
        target.bias.copy_(torch.stack(parts).sum(dim=0))
        for name in ("leak", "threshold"):
            learned, kept = getattr(layer, name), getattr(target, name)
            if learned is not None:
                kept.copy_(learned)
    for readout, plain_readout in (
        (block.head.readout, plain.head.readout),
        (block.head.detector, plain.head.detector),
    ):
        if isinstance(readout, Readout) and isinstance(plain_readout, Readout):
            plain_readout.bias.copy_(readout.bias)
    plain.eval().requires_grad_(False)
    return plain

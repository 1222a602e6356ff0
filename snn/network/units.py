"""Units as modules, made from their declarations, and the builder of their layers."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from snn.network.connections import Connections, InputKind, Norm, SubSample
from snn.network.first_spike import FirstSpike
from snn.network.layers import ForwardContext, Layer, PoolNeurons
from snn.network.memory.adaptive import AdaptiveLif
from snn.network.memory.delays import Delays
from snn.network.memory.lateral import LateralLif
from snn.network.memory.synapse import Synapse
from snn.network.neurons import Lif
from snn.network.pooling import Pooling, Size, SpikePool
from snn.network.rate_maps import RateMap
from snn.settings.units import INPUT, LayerPlan, Unit
from snn.settings.units.unit import weight_shape

POOL_THRESHOLD = 0.75
"""Threshold of pooling neurons (Lee et al. 2020, as released)."""


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """The signal between two units: shape without time and batch, and its kind.

    `spikes_per_unit` is the number of spikes that make a value of 1. `is_analog`: values are
    real numbers, not spikes; `is_constant`: they are also the same at every timestep.
    `deviation` is the standard deviation of the values, None for spikes of neurons.
    """

    shape: tuple[int, ...]
    spikes_per_unit: int = 1
    is_analog: bool = False
    is_constant: bool = False
    deviation: float | None = None
    kind: InputKind = "neurons"

    @property
    def size(self) -> Size:
        """Height and width of the map."""
        height, width = self.shape[1:]
        return height, width


@dataclass(frozen=True, kw_only=True)
class BlockBuilder:
    """Constants, norm and random generator shared by all layers of one block."""

    lif: Lif
    norm: Norm
    dropout: float
    generator: torch.Generator
    pooling: str = "average"  # as in RunConfig
    own: Collection[str] = ()  # of leak and threshold, what every layer has for itself
    own_leaks: bool = False  # every neuron, in maps every channel, has its own
    leak_spread: float = 1.0  # of their time constants at the start, as in RunConfig
    leak_draws: torch.Generator | None = None
    own_thresholds: bool = False
    is_trained: bool = False  # whether own thresholds are trained
    balance: float = 0.0  # of own thresholds by activity
    rate_map: Callable[[], RateMap] | None = None  # of layers that can run without time
    is_folded: bool = False
    synaptic_leak: float = 0.0  # 0: neurons without a synaptic current
    adaptation: float = 0.0  # 0: thresholds do not adapt
    adaptation_leak: float = 0.0
    has_bias: bool = True
    inhibition: float = 0.0  # of a spike on the other neurons of a dense layer, in thresholds
    lift: float = 0.0  # sum of the initial weights of a neuron, on average
    identity_share: float = 0.0  # as in RunConfig
    recurrence: int = 0  # side of recurrent connections in maps, pixels; 0: none
    recurrent_draws: torch.Generator | None = None
    delays: str = "none"  # as in RunConfig
    longest_delay: int = 0  # timesteps
    delay_draws: torch.Generator | None = None  # None: all are 0 at first
    is_plastic: bool = False  # connections learn by plasticity
    readout_gain: float = 1.0  # of the inputs of integrators
    salt: int = 0  # of the draws of code neurons at inference

    def layer(
        self,
        name: str,
        shapes: Sequence[tuple[int, ...]],
        sources: Sequence[SignalSpec],
        *,
        strides: Sequence[int] = (1, 1),
        groups: Sequence[int] = (1, 1),
        skip: SubSample | None = None,
        make: Callable[..., Layer] = Layer,
    ) -> Layer:
        """Return a layer with one set of connections per shape; the sum has unit variance.

        `make` is its class, or what else takes the same arguments.
        """
        summed = len(shapes) + (skip is not None)
        if summed == 1 or self.identity_share == 0:
            shares = [1 / summed] * len(shapes)
        else:  # the first is the way around which the others skip
            others = summed - 1
            shares = [1 - self.identity_share, *[self.identity_share / others] * others]
        connections = [
            Connections(
                shape,
                stride=stride,
                groups=apart,
                spikes_per_unit=source.spikes_per_unit,
                is_analog=source.is_analog,
                is_constant=source.is_constant,
                deviation=source.deviation,
                kind=source.kind,
                norm=self.norm,
                gain=math.sqrt(share),
                lift=self.lift,
                identity_share=self.identity_share,
                generator=self.generator,
                delays=self._delays(shape, source, groups=apart),
            )
            for shape, source, stride, apart, share in zip(
                shapes, sources, strides, groups, shares, strict=False
            )
        ]
        if self.is_plastic:
            for conn in connections:
                conn.learn_by_plasticity(self.generator)
        return make(
            name,
            connections,
            lif=self._neurons(),
            skip=skip,
            dropout=self.dropout,
            has_bias=self.has_bias and (self.is_folded or self.norm != "batch-over-time"),
            own=self.own,
            leaks=self._leaks(shapes[0][0]) if self.own_leaks else None,
            own_thresholds=self.own_thresholds and not self.is_folded,
            is_trained=self.is_trained,
            balance=self.balance,
            rate_map=None if self.rate_map is None else self.rate_map(),
            synapse=Synapse(self.synaptic_leak) if self.synaptic_leak > 0 else None,
            recurrence=self._recurrence(shapes[0]),
        )

    def _leaks(self, neurons: int) -> Tensor:
        """Return initial leaks, of time constants that are drawn log-uniformly around the leak's.

        A leak is exp(-1 / time constant): with k times the time constant it is leak^(1/k).
        """
        if self.leak_spread == 1:
            return torch.full((neurons,), self.lif.leak)
        draws = torch.rand(neurons, generator=self.leak_draws, dtype=torch.float64)
        times = self.leak_spread ** (2 * draws - 1)
        return (self.lif.leak ** (1 / times)).to(torch.get_default_dtype())

    def _recurrence(self, shape: tuple[int, ...]) -> Connections | None:
        """Return connections from a layer with weights of a shape to itself; they start at 0.

        With standardised weights they start with a gain of 0, which then says how strong they
        are: raw weights of many neurons would grow out of bounds at a usual learning rate.
        """
        if self.recurrence == 0:
            return None
        own = (shape[0], shape[0], *[self.recurrence] * (len(shape) - 2))
        if self.norm == "weight-standardised":
            return Connections(own, norm=self.norm, gain=0.0, generator=self.recurrent_draws)
        conn = Connections(own, generator=self.recurrent_draws)
        nn.init.zeros_(conn.weight)
        return conn

    def _delays(self, shape: tuple[int, ...], source: SignalSpec, *, groups: int) -> Delays | None:
        """Return delays for weights of a shape; a constant current has none."""
        if self.delays == "none" or source.is_constant:
            return None
        own = shape[:2] if self.delays == "connections" else (shape[1] * groups,)
        delays = Delays(self.delays, own, longest=self.longest_delay)
        return delays if self.delay_draws is None else delays.draw(self.delay_draws)

    def _neurons(self) -> Lif:
        if self.inhibition > 0:
            return LateralLif(**vars(self.lif), inhibition=self.inhibition)
        if self.adaptation == 0:
            return self.lif
        return AdaptiveLif(
            **vars(self.lif), adaptation=self.adaptation, adaptation_leak=self.adaptation_leak
        )

    def pool_neurons(self, name: str, pool: SpikePool) -> PoolNeurons | None:
        """Return the neurons that follow a unit's pool, or None where pools do not spike."""
        if self.pooling != "spiking" or not pool.is_pooling:
            return None
        lif = replace(
            self.lif,
            leak=1.0,
            threshold=POOL_THRESHOLD,
            reset="hard",
            firing_share=1.0,
            strict=True,
        )
        if isinstance(lif, FirstSpike):  # the first spike of the window
            lif = replace(lif, threshold=0.5 / pool.spikes_per_unit, is_exclusive=False)
        return PoolNeurons(name, lif=lif, spikes_per_unit=pool.spikes_per_unit)


class UnitModule(nn.Module):
    """A unit of a block: its layers, and a pool if it has one.

    Called with spikes (time, batch, ...), timesteps and context, it returns the spikes that
    leave it, whose form is `signal`. Layers are attributes with the names of the declaration,
    so that weights files have those names.
    """

    def __init__(
        self, unit: Unit, width: int, source: SignalSpec, builder: BlockBuilder, name: str
    ) -> None:
        super().__init__()
        count = unit.count(width)
        self.plans = unit.layers(source.shape, count)
        self._forms = {
            place: source if place == INPUT else SignalSpec(shape=shape)
            for place, shape in unit.shapes(source.shape, count).items()
        }
        for plan in self.plans:
            setattr(self, plan.name, self._built(plan, builder, name))
        last = self._forms[self.plans[-1].name]
        self.pool: SpikePool | None = None
        self.pooled: PoolNeurons | None = None
        self.signal = last
        if unit.window > 1 and len(last.shape) == 3:
            self._add_pool(unit.window, last, builder, f"{name}.pool")

    def _built(self, plan: LayerPlan, builder: BlockBuilder, name: str) -> Layer:
        skip = None
        if plan.skip is not None:
            source = self._forms[plan.skip.source]
            skip = SubSample(stride=plan.skip.stride, spikes_per_unit=source.spikes_per_unit)
        return builder.layer(
            f"{name}.{plan.label}" if plan.label else name,
            [weight_shape(plan, links, self._forms[links.source].shape) for links in plan.links],
            [self._forms[links.source] for links in plan.links],
            strides=[links.stride for links in plan.links],
            groups=[links.groups for links in plan.links],
            skip=skip,
        )

    def _add_pool(self, window: int, source: SignalSpec, builder: BlockBuilder, name: str) -> None:
        pooling: Pooling = "max" if builder.pooling == "max" else "average"
        self.pool = SpikePool(source.size, kernel=window, pooling=pooling)
        self.pooled = builder.pool_neurons(name, self.pool)
        shape = (source.shape[0], *self.pool.size)
        if self.pooled is None:
            self.signal = SignalSpec(shape=shape, spikes_per_unit=self.pool.spikes_per_unit)
        else:
            self.signal = SignalSpec(shape=shape, kind="pool")

    def parts(self) -> Iterator[tuple[Layer, str, list[str]]]:
        """Yield each layer with its name and the names of its inputs: its links, then its skip."""
        for plan in self.plans:
            sources = [links.source for links in plan.links]
            if plan.skip is not None:
                sources.append(plan.skip.source)
            layer = getattr(self, plan.name)
            assert isinstance(layer, Layer)
            yield layer, plan.name, sources

    def forward(self, x: Tensor, steps: int, batch: ForwardContext) -> Tensor:
        """Return the spikes that leave the unit, (steps, batch, ...)."""
        signals = {INPUT: x}
        for layer, name, sources in self.parts():
            inputs = [signals[source] for source in sources]
            if layer.sources[0].weight.dim() == 2:
                inputs = [part.flatten(2) for part in inputs]
            x = layer(inputs, steps, batch)
            signals[name] = x
        if self.pool is None:
            return x
        x = self.pool(x)
        return x if self.pooled is None else self.pooled([x], steps, batch)

    @property
    def first_shape(self) -> tuple[int, ...]:
        """Shape of the spikes of the first layer, without time and batch."""
        return self._forms[self.plans[0].name].shape
